"""The runs of a loop: one for the loop, one for each round in it, one for each step in a round.

The one decision: a run is found again by tags that follow from the plan, from whichever process: the loop by the hash
of its plan, a round by its number, a step by its place and key.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

LOOP, ROUND, STEP = "loop", "round", "step"
"""What the tag ``kind`` says."""
PARENT = "mlflow.parentRunId"
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
        return next(iter(self._found(f" and tags.kind = '{LOOP}'", most=1)), None)

    def inside(self) -> list[Any]:
        """The runs of its rounds and steps."""
        return self._found(f" and tags.kind != '{LOOP}'", most=MOST)

    def _found(self, also: str, most: int) -> list[Any]:
        found = self.client.search_runs([self.experiment], f"tags.loop = '{self.loop}'{also}", max_results=most)
        return list(found)
