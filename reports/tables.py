"""Tables of a report: the closing table, what was dropped, how the judges do; and the curves of what was measured.

The one decision: which metrics belong together is told by their names, as every stage names them: ``null_REASON``,
``dropped_RULE``, ``ties`` count what gave no label. A metric that a stage adds appears without a change here.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from loops.console import rounds_cells
from reports.intervals import ENDS, measured
from reports.seen import Seen, training_curve
from reports.svg import Line, Point, lines

LOST = re.compile(r"(null|dropped|duels_unread|ties|too_few|unscored|disagreeing|votes_invalid|left_out)")
"""How the names begin of metrics that count what gave no label, no pair or no place in the training."""
TRAINED = ("loss", "accuracy")
"""What is drawn of a training, where it has it."""


@dataclass(frozen=True, kw_only=True)
class Grid:
    """A table: a head, and rows whose first cell is their name."""

    head: list[str]
    rows: list[list[str]]


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A picture, what it is of, and its lines."""

    title: str
    lines: Sequence[Line]
    picture: Markup


def closing(run: Seen) -> Grid:
    """The table that the run ends with, from the columns of its configuration."""
    labels, told = rounds_cells(run.record.table, run.record.metrics())
    return Grid(head=["", *labels], rows=[[_round(number), *cells] for number, cells in told.items()])


def lost(run: Seen) -> Grid:
    """What was dropped, tied or without a score, by node and reason; zeros in every round are left out."""
    return _by_round(run, lambda kind, name: kind != "Model" and bool(LOST.match(name)), zeros=False)


def judges(run: Seen) -> Grid:
    """What every scorer told of its scores, but for what it could not score."""
    return _by_round(run, lambda kind, name: kind == "Scores" and not LOST.match(name), zeros=True)


def curves(runs: Sequence[Seen]) -> list[Chart]:
    """Over rounds, every metric of every report, with its interval."""
    nodes = dict.fromkeys(each.step.node for run in runs for each in run.of_kind("Report"))
    charts = []
    for node in nodes:
        rounds = [run.by_round(node) for run in runs]
        names = dict.fromkeys(name for own in rounds for metrics in own.values() for name in metrics)
        for name in (name for name in names if not name.endswith(ENDS)):
            drawn = [
                _line(run.record.run, color, own, name)
                for color, (run, own) in enumerate(zip(runs, rounds, strict=True))
            ]
            if any(_tells(line) for line in drawn):
                everywhere = sorted({point.x for line in drawn for point in line.points})
                charts.append(_chart(f"{node}: {name.replace('_', ' ')}", drawn, everywhere))
    return charts


def trainings(run: Seen) -> list[Chart]:
    """Loss and accuracy over the optimizer's steps, a line a round."""
    charts = []
    models = [each for each in run.of_kind("Model") if training_curve(each)]
    for node in dict.fromkeys(each.step.node for each in models):
        own = [each for each in models if each.step.node == node]
        for name in TRAINED:
            drawn = [
                Line(name=_round(each.step.round), color=color, points=points)
                for color, each in enumerate(own)
                if (points := [_point(row["step"], row[name]) for row in training_curve(each) if name in row])
            ]
            if drawn:
                charts.append(Chart(title=f"{node}: {name} over optimizer steps", lines=drawn, picture=lines(drawn)))
    return charts


def _tells(line: Line) -> bool:
    """Whether it is more than a number that is the same in every round."""
    return len({point.y for point in line.points}) > 1 or any(point.low < point.high for point in line.points)


def _chart(title: str, drawn: Sequence[Line], rounds: Sequence[float]) -> Chart:
    few = rounds if len(rounds) <= 8 else [rounds[0], rounds[len(rounds) // 2], rounds[-1]]
    told = [line for line in drawn if line.points]
    return Chart(title=title, lines=told, picture=lines(told, {x: str(int(x)) if x else "start" for x in few}))


def _line(name: str, color: int, rounds: Mapping[int, Mapping[str, float]], metric: str) -> Line:
    found = {number: measured(metrics, metric) for number, metrics in sorted(rounds.items()) if metric in metrics}
    points = [Point(x=number, y=each.value, low=each.low, high=each.high) for number, each in found.items()]
    return Line(name=name, color=color, points=points)


def _point(x: float, y: float) -> Point:
    return Point(x=x, y=y, low=y, high=y)


def _by_round(run: Seen, wanted: Callable[[str, str], bool], zeros: bool) -> Grid:
    """A row a node and metric, a column a round."""
    values: dict[str, dict[int, float]] = {}
    for name, number, value in _told(run, wanted):
        values.setdefault(name, {})[number] = value
    numbers = sorted({number for own in values.values() for number in own})
    kept = {name: own for name, own in values.items() if zeros or any(own.values())}
    rows = [[name, *(f"{own[n]:.4g}" if n in own else "–" for n in numbers)] for name, own in kept.items()]
    return Grid(head=["", *map(_round, numbers)], rows=rows)


def _told(run: Seen, wanted: Callable[[str, str], bool]) -> Iterator[tuple[str, int, float]]:
    for each in run.made:
        for name, value in each.metrics.items():
            if wanted(each.step.kind, name):
                yield f"{each.step.node}: {name.replace('_', ' ')}", each.step.round, value


def _round(number: int) -> str:
    return f"round {number}" if number else "start"
