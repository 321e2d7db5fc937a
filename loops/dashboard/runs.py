"""The runs of a loop: one for the loop, one for each round in it, one for each step in a round.

The one decision: a run is found again by tags that follow from the plan, from whichever process: the loop by the hash
of its plan, a round by its number, a step by its place and key. A loop that has become longer goes on in the same run.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from loops.plan import Plan

LOOP, ROUND, STEP = "loop", "round", "step"
"""What the tag ``kind`` says."""
PARENT = "mlflow.parentRunId"
INSIDE = "loop_run"
"""The tag of rounds and steps that says in which loop's run they are."""
LONGER = 10
"""By how many rounds at most a loop may have become longer."""
MOST = 50_000
"""Runs that MLflow hands over in one answer."""


@dataclass(frozen=True, kw_only=True)
class Runs:
    """Where a loop's runs are.

    Args:
        client: MLflow's.
        experiment: its id.
        loop: the hash of the plan.
        tags: of all of the loop's runs.
    """

    client: Any
    experiment: str
    loop: str
    tags: Mapping[str, str]

    def begin(self, kind: str, name: str, parent: str = "", begun: int | None = None, **tags: str) -> str:
        """Make a run, open, in another one; ``begun`` in milliseconds, None for now."""
        tags = {**self.tags, **tags, "kind": kind, "loop": self.loop} | ({PARENT: parent} if parent else {})
        run: str = self.client.create_run(self.experiment, begun, tags, name).info.run_id
        return run

    def of_loop(self) -> Any:
        """The loop's own run; None if it was never told of."""
        return next(iter(self._found(f"tags.loop = '{self.loop}' and tags.kind = '{LOOP}'", most=1)), None)

    def of_shorter(self, plan: Plan) -> Any:
        """The run of this loop when it had fewer rounds, which is its run from now on; None if there is none."""
        for rounds in range(plan.rounds - 1, max(0, plan.rounds - 1 - LONGER), -1):
            known = replace(self, loop=plan.until(rounds).key).of_loop()
            if known:
                for name, value in (("loop", plan.key), ("rounds", str(plan.rounds))):
                    self.client.set_tag(known.info.run_id, name, value)
                return known
        return None

    def inside(self, loop: str) -> list[Any]:
        """The runs of the rounds and steps of a loop's run."""
        return self._found(f"tags.{INSIDE} = '{loop}'", most=MOST)

    def _found(self, which: str, most: int) -> list[Any]:
        return list(self.client.search_runs([self.experiment], which, max_results=most))
