"""What a person at a terminal, or a log file, is told of a run: the plan, a line a step, a table, where it all lies.

The one decision: the console is a tracker like MLflow, and which numbers the table shows is configuration: a column is
a format string over ``<node>/<metric>``.
"""

import re
import string
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.table import Table

from loops.cells import HEADER
from loops.errors import RecipeError
from loops.forecast import Forecast
from loops.manifest import Manifest
from loops.plain import lay_out
from loops.plan import Plan, Step
from loops.provenance import code_hash
from loops.secrets import hidden
from loops.tracker import Tracker


def plan_lines(forecast: Forecast) -> list[str]:
    """A line a step: its name, its key, its state, its stage and its cost; then what the states mean that need words,
    and what all of it costs."""
    plan, store, costs = forecast.plan, forecast.store, forecast.cells()
    wide = max((len(step.id) for step in plan.steps), default=0)
    broad = max((len(type(step.stage).__name__) for step in plan.steps), default=0)
    away = store.away(step.key for step in plan.steps)
    states = {step: "away" if step.key in away else _state(step, forecast) for step in plan.steps}
    lines = [f"{'step':<{wide}}  {'key':<16}  {'state':<5}  {'stage':<{broad}}  {HEADER}"]
    for step, state in states.items():
        stage = type(step.stage).__name__
        lines.append(f"{step.id:<{wide}}  {step.key}  {state:<5}  {stage:<{broad}}  {costs[step.key]}")
    if "have*" in states.values():
        lines.append("have*: the stage's code has changed since; bump its VERSION to make it again")
    if away:
        lines.append(f"away: made, and in {store.url}; its files are fetched when a step reads them")
    if "run!" in states.values():
        lines.append("run!: it was made, but its files are damaged:")
    for step in (step for step, state in states.items() if state == "run!"):
        lines += [f"  {store.path(step.key)}: {wrong}" for wrong in store.damage(step.key)]
    return [*lines, *forecast.lines()]


def _state(step: Step, forecast: Forecast) -> str:
    """Of what is not away: have, ``have*`` (made by code that has changed since), run, or ``run!`` (damaged)."""
    manifest = forecast.made.get(step.key)
    if manifest is None:
        return "run!" if forecast.store.damage(step.key) else "run"
    return "have" if manifest.provenance.get("code") == code_hash(type(step.stage)) else "have*"


CELL = re.compile(r"\{[\w./-]+(:[-+<>^ ,]?\d{0,3}(\.\d{1,2})?[efg%]?)?\}", flags=re.ASCII)
"""A number in the closing table: a metric's name and how it is written."""


@dataclass(kw_only=True)
class Console(Tracker):
    """Prints a run.

    Args:
        columns: the table's columns, each a format string over ``node/metric`` names.
        closing: the last words, a format string over ``words`` and, as paths, the names that the recipe carries; a
            line with a name that has no word is left out.
    """

    columns: Mapping[str, str]
    closing: str
    words: Mapping[str, str]
    rows: dict[int, dict[str, float]] = field(default_factory=dict)
    artifacts: dict[str, Path] = field(default_factory=dict)
    made: int = 0

    def begin(self, plan: Plan) -> None:
        """Remember when."""
        self._plan, self._begun = plan, time.monotonic()
        self._wide = max((len(step.id) for step in plan.steps), default=0)

    def finished(self, step: Step, manifest: Manifest, artifact: Path, cached: bool) -> None:
        """Print a line for a step that was made now."""
        metrics = {f"{step.node}/{name}": value for name, value in manifest.metrics.items()}
        self.rows.setdefault(step.round, {}).update(metrics)
        self.artifacts[step.key] = artifact
        if not cached:
            self.made += 1
            shown = "  ".join(f"{name} {value:.4g}" for name, value in list(manifest.metrics.items())[:6])
            say(f"{step.id:<{self._wide}}  {manifest.seconds:7.1f} s  {shown}")

    def stopped(self, plan: Plan, why: str) -> None:
        """Say so, and close with what is left of the plan."""
        self._plan = plan
        self.rows = {number: row for number, row in self.rows.items() if number <= plan.rounds}
        say(f"\n{why}")

    def end(self, status: str) -> None:
        """Print the table and where the result lies."""
        if status != "FINISHED":
            return
        steps = f"{self.made} step{'' if self.made == 1 else 's'}"
        say(f"\n{self._plan.name}: {steps} run in {time.monotonic() - self._begun:.0f} s")
        lay_out(rounds_table(self.columns, self.rows))
        carried = {name: str(self.artifacts[step.key]) for name, step in self._plan.carried.items()}
        said = {name: word for name, word in {**self.words, **carried}.items() if word}
        say("\n".join(line.format_map(said) for line in self.closing.splitlines() if set(_names(line)) <= set(said)))


def rounds_table(columns: Mapping[str, str], rows: Mapping[int, Mapping[str, float]]) -> Table:
    """One row a round."""
    labels, told = rounds_cells(columns, rows)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for label in ("round", *labels):
        table.add_column(label, justify="right")
    for number, cells in told.items():
        table.add_row(str(number or "start"), *cells)
    return table


def rounds_cells(
    columns: Mapping[str, str], rows: Mapping[int, Mapping[str, float]]
) -> tuple[list[str], dict[int, list[str]]]:
    """The columns' labels, and by round their cells; without a column or a round that has not a single number."""
    cells = {label: [filled(template, rows[number]) for number in sorted(rows)] for label, template in columns.items()}
    shown = {label: column for label, column in cells.items() if any(column)}
    by_round = {number: [column[place] for column in shown.values()] for place, number in enumerate(sorted(rows))}
    return list(shown), {number: [cell or "–" for cell in own] for number, own in by_round.items() if any(own)}


def check_columns(columns: Mapping[str, Any]) -> None:
    """
    Raises:
        RecipeError: a column of the table is no text in which ``{node/metric:.2f}`` stands for a number.
    """
    for label, template in columns.items():
        if not isinstance(template, str) or set(CELL.sub("", template)) & set("{}"):
            raise RecipeError(f"table.{label}: expected a text with {{node/metric:.2f}}, got {template!r}")


def filled(template: str, metrics: Mapping[str, float]) -> str:
    """The template with the metrics' values, or the empty string where one of them is missing."""
    return template.format_map(metrics) if all(name in metrics for name in _names(template)) else ""


def _names(template: str) -> list[str]:
    return [name for _, name, _, _ in string.Formatter().parse(template) if name]


def say(text: Any, end: str = "\n") -> None:
    """Print at once, so that a log file is never behind, and without secrets."""
    print(f"{hidden(str(text))}{end}", end="", flush=True)  # in one, for others print too
