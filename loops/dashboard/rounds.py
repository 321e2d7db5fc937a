"""The runs of a loop's rounds: begun with the first step of a round, closed with the last.

The one decision: whether a round is whole follows from the plan and from what has finished. The setup is round 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from loops.dashboard.finished import Finished
from loops.dashboard.runs import ROUND, Runs
from loops.plan import Plan


@dataclass(kw_only=True)
class Round:
    """A round's run, whether it is open or told as a whole, the steps that it waits for, and those that it has."""

    left: set[str] = field(default_factory=set)
    run: str = ""
    open: bool = False
    whole: bool = False
    finished: list[Finished] = field(default_factory=list)


class Rounds:
    """The rounds of a plan.

    Args:
        runs, parent: where their runs are, and the loop's own run.
        plan: the loop.
        known: the runs that were there before.
    """

    def __init__(self, runs: Runs, parent: str, plan: Plan, known: Sequence[Any]) -> None:
        self._runs, self._parent = runs, parent
        self._rounds: dict[int, Round] = {}
        for step in plan.steps:
            self._rounds.setdefault(step.round, Round()).left.add(step.id)
        for run in known:
            this = self._rounds[int(run.data.tags["round"])]
            this.run, this.whole = run.info.run_id, run.info.status == "FINISHED"

    def run(self, each: Finished) -> str:
        """The open run of the round that a step belongs to."""
        number = each.step.round
        this = self._rounds[number]
        if not this.run:
            name = f"round-{number:02d}" if number else "setup"
            this.run = self._runs.begin(ROUND, name, self._parent, each.begun, round=str(number))
        elif not this.open:
            self._runs.client.update_run(this.run, "RUNNING")
        this.open = True
        return this.run

    def note(self, finished: Sequence[Finished]) -> None:
        """Steps were told, now or before; rounds that are whole by that are told and closed."""
        for each in finished:
            this = self._rounds[each.step.round]
            this.left.discard(each.step.id)
            this.finished.append(each)
            if not this.left and not this.whole:
                self._close(each.step.round, this)

    def close(self, status: str) -> None:
        """Close what has not become whole. A later run goes on with it."""
        for this in self._rounds.values():
            if this.open:
                self._runs.client.set_terminated(this.run, "KILLED" if status == "FINISHED" else status)

    def _close(self, number: int, this: Round) -> None:
        """Tell the numbers of all its steps; and how long they took together, which is a number of the loop's too."""
        from mlflow.entities import Metric

        run, ended = self.run(this.finished[0]), max(each.ended for each in this.finished)
        total = Metric("round/seconds", sum(each.manifest.seconds for each in this.finished), ended, number)
        numbers = [
            Metric(f"{each.step.node}/{name}", value, each.ended, number)
            for each in this.finished
            for name, value in each.numbers.items()
        ]
        self._runs.client.log_batch(run, [total, *numbers])
        self._runs.client.log_batch(self._parent, [total])
        self._runs.client.set_terminated(run, end_time=ended)
        this.open, this.whole = False, True
