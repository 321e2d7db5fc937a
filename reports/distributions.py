"""How scores and lengths are distributed, round by round.

The one decision: every round and every run has the same bins, so that what moves is seen. The bins end at the 1st and
99th percentile of all; what lies beyond is counted in the outermost.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from reports.seen import Made, Seen
from reports.svg import histogram
from stages.artifacts import Completions, Scores

BINS = 24


@dataclass(frozen=True, kw_only=True)
class Distribution:
    """A picture, and what it is of."""

    name: str
    count: int
    mean: float
    picture: Markup


@dataclass(frozen=True, kw_only=True)
class Group:
    """The distributions of what one node made, over rounds and runs."""

    title: str
    each: list[Distribution]


def distributions(runs: Sequence[Seen]) -> list[Group]:
    """Of every scorer the scores, and of everything that answers the length of the answers in characters."""
    groups = []
    for kind, what, read in (("Scores", "score", _scores), ("Completions", "characters of an answer", _lengths)):
        nodes = dict.fromkeys(each.step.node for run in runs for each in run.of_kind(kind))
        for node in nodes:
            found = [
                (_name(run, each, runs), color, read(each))
                for color, run in enumerate(runs)
                for each in run.of_kind(kind)
                if each.step.node == node
            ]
            known = [(name, color, values) for name, color, values in found if len(values)]
            if known:
                groups.append(Group(title=f"{node}: {what}", each=_pictures(known)))
    return groups


def _pictures(found: Sequence[tuple[str, int, Any]]) -> list[Distribution]:
    import numpy as np

    low, high = np.percentile(np.concatenate([values for _, _, values in found]), (1, 99))
    edges = np.linspace(low, high if high > low else low + 1, BINS + 1)
    return [
        Distribution(
            name=name,
            count=len(values),
            mean=float(values.mean()),
            picture=histogram(np.histogram(values.clip(edges[0], edges[-1]), edges)[0].tolist(), edges.tolist(), color),
        )
        for name, color, values in found
    ]


def _name(run: Seen, each: Made, runs: Sequence[Seen]) -> str:
    place = f"round {each.step.round}" if each.step.round else "start"
    return f"{run.record.run}, {place}" if len(runs) > 1 else place


def _scores(each: Made) -> Any:
    import numpy as np

    rows = Scores(each.path).rows(["score"])
    return np.fromiter((row["score"] for row in rows if row["score"] is not None), dtype=float)


def _lengths(each: Made) -> Any:
    import numpy as np

    rows = Completions(each.path).rows(["completion"])
    return np.fromiter((len(row["completion"][0]["content"]) for row in rows), dtype=float)
