"""A run as a person at a terminal sees it while it goes: the round, its steps, how far the running ones are, what came
of the rounds so far, and how long the rest will take.

The one decision: it is one more tracker, which shows what trackers are told and what running steps tell, below the
console's lines. Nothing waits for it.
"""

import atexit
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rich.cells import cell_len
from rich.columns import Columns
from rich.console import Console as Terminal
from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.segment import SegmentLines
from rich.table import Table
from rich.text import Text

from loops.claims import living_maker
from loops.console import Console, rounds_cells, rounds_table
from loops.executors import Executor, Inline
from loops.lines import Lines
from loops.manifest import Manifest
from loops.plain import duration
from loops.plan import Plan, Step
from loops.progress import Bar, told
from loops.region import Region
from loops.status import Standing, time_left
from loops.store import Store
from loops.tracker import Tracker

MARKS = {
    "finished": ("✓", "green"),
    "failed": ("✗", "bold red"),
    "running": ("▸", "bold cyan"),
    "queued": ("▹", "cyan"),
    "waiting": ("·", "dim"),
}
NOW = {"failed": " failed; what runs is finished first", "running": ", for {}", "queued": ", queued for {}"}
"""What is said of single steps below those of the round, with how long."""


@dataclass(kw_only=True)
class Live(Tracker):
    """Shows the run at the bottom of the terminal, as soon as a step has to be made.

    Args:
        console: says what has finished, in lines that scroll by above, and knows the table.
        store: where running steps tell how far they are.
    """

    console: Console
    store: Store
    steps: dict[str, Standing] = field(default_factory=dict)
    since: dict[str, float] = field(default_factory=dict)
    begun: dict[str, float] = field(default_factory=dict)
    region: Region | None = None
    _drawn_for: Any = None

    def begin(self, plan: Plan) -> None:
        """Nothing has been made yet, as far as we know."""
        self._plan, self._begun = plan, time.monotonic()
        self.steps = {step.id: Standing(step=step, state="waiting") for step in plan.steps}

    def started(self, step: Step) -> None:
        """Show it, and with it all the rest."""
        self.since[step.id] = time.monotonic()
        self.steps[step.id] = Standing(step=step, state="running")
        if self.region is None:
            self.region = Region(self._view)
            atexit.register(self.end, "KILLED")
            self.region.start()

    def finished(self, step: Step, manifest: Manifest, artifact: Path, cached: bool) -> None:
        """Show it as finished."""
        self.steps[step.id] = Standing(step=step, state="finished", seconds=manifest.seconds)

    def failed(self, step: Step) -> None:
        """Show it as failed while others run."""
        self.steps[step.id] = Standing(step=step, state="failed")

    def end(self, status: str) -> None:
        """Leave the terminal as it was."""
        if self.region is not None:
            self.region.stop()
            self.region = None
            atexit.unregister(self.end)

    def _view(self, terminal: Terminal) -> RenderableType:
        found = [self._now(each) for each in list(self.steps.values())]
        running = [each for each in found if each.state == "running"]
        number = min(each.step.round for each in running or [self.steps[list(self.since)[-1]]])
        own = [each for each in found if each.step.round == number]
        shown: list[RenderableType] = [Text(), self._headline(found, number), _steps(own)]
        for each in (each for each in found if each.state in NOW):
            shown += [Text(f"{each.step.id}{NOW[each.state].format(_about(each.seconds))}"), *map(_bar, each.bars)]
        room = terminal.height - 2 - len(terminal.render_lines(Group(*shown)))
        return Group(*shown, *self._table(terminal, room))

    def _now(self, each: Standing) -> Standing:
        """With how long it has run and how far it is, if it runs. What nobody has begun to make is queued."""
        if each.state != "running":
            return each
        drafts, now = self.store.drafts(each.step.key), time.monotonic()
        if each.step.id not in self.begun and not living_maker(drafts):
            return replace(each, state="queued", seconds=now - self.since[each.step.id])
        seconds = now - self.begun.setdefault(each.step.id, now)
        return replace(each, seconds=seconds, bars=told(drafts))

    def _headline(self, found: Sequence[Standing], number: int) -> Text:
        """Which round, how much of the whole, and how long."""
        finished, (left, unknown) = sum(each.state == "finished" for each in found), time_left(found)
        where = f"round {number} of {self._plan.rounds}" if number else "setup"
        so_far = f"{_about(time.monotonic() - self._begun)} so far"
        to_go = f"{'more than' if unknown else 'about'} {_about(left)} to go" if round(left) else ""
        times = ", ".join(filter(None, (so_far, to_go)))
        told = Text(f"  {where}, {finished} of {len(found)} steps, {times}")
        return Text.assemble((self._plan.name, "bold"), told)

    def _table(self, terminal: Terminal, room: int) -> list[RenderableType]:
        """What came of the last rounds, as many as there is room for in lines; drawn anew only if it is another."""
        rows = {number: dict(row) for number, row in sorted(dict(self.console.rows).items())[1 - room :]}
        drawn_for = terminal.width, room, rows
        if drawn_for != self._drawn_for:
            table = _fitting(self.console.columns, rows, terminal.width)
            lines = [[], *terminal.render_lines(table)] if table.row_count and room > 1 else []
            self._drawn_for, self._drawn = drawn_for, SegmentLines(lines, new_lines=True)
        return [self._drawn]


def watching(console: Console, store: Store, executor: Executor) -> Tracker:
    """Who shows how far running steps are: a live view on a terminal, else lines now and then.

    A step that runs in this process keeps the terminal for itself, for a debugger.
    """
    on_terminal = sys.stdout.isatty() and not Terminal().is_dumb_terminal
    live = on_terminal and not isinstance(executor, Inline)
    return Live(console=console, store=store) if live else Lines(store=store, named=executor.workers > 1)


def _fitting(columns: Mapping[str, str], rows: Mapping[int, Mapping[str, float]], width: int) -> Table:
    """The table with as many columns as fit, the last ones: what a round is judged by stands there."""
    labels, told = rounds_cells(columns, rows)
    cells = zip(*told.values(), strict=True)
    wide = {label: 2 + max(map(cell_len, (label, *own))) for label, own in zip(labels, cells, strict=True)}
    while len(labels) > 1 and len("round") + sum(wide[label] for label in labels) > width:
        del labels[0]
    return rounds_table({label: columns[label] for label in labels}, rows)


def _steps(found: Sequence[Standing]) -> Columns:
    """The steps of a round, each with a mark that says how it is."""
    names = [Text(f"{MARKS[each.state][0]} {each.step.node}", MARKS[each.state][1]) for each in found]
    return Columns(names, padding=(0, 2))


def _about(seconds: float) -> str:
    return duration(round(seconds))


def _bar(bar: Bar) -> Group:
    """A bar as wide as there is room, and below it its rates and times."""
    line = Table.grid(padding=(0, 1), expand=True)
    line.add_column(no_wrap=True)
    line.add_column(ratio=1)
    line.add_column(no_wrap=True)
    line.add_row(f"  {bar.what}", ProgressBar(total=max(1, bar.total), completed=bar.done), bar.amount)
    told = ", ".join(filter(None, (bar.rates, bar.times)))
    return Group(line, Text(f"    {told}", style="dim", no_wrap=True, overflow="ellipsis"))
