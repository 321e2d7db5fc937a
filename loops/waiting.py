"""The steps that wait to be made, and which of them could begin.

The one decision: each step counts the inputs that it still lacks, so a step that finishes looks only at those that read
it. The cost of a run grows with its edges and not with what waits beside them.
"""

from collections.abc import Callable, Collection, Mapping
from heapq import heappop, heappush

from loops.plan import Step


class Waiting:
    """What is to be made, in the order of the plan.

    Args:
        missing: by key, each step that has no artifact, in the order of the plan.
        done: the keys of those that have one.
    """

    def __init__(self, missing: Mapping[str, Step], done: Collection[str]) -> None:
        self._steps = list(missing.values())
        self._lacking: list[int] = []
        self._readers: dict[str, list[int]] = {}
        self._ready: list[int] = []
        for place, step in enumerate(self._steps):
            lacking = {source.key for source in step.inputs.values()}.difference(done)
            self._lacking.append(len(lacking))
            for key in lacking:
                self._readers.setdefault(key, []).append(place)
            if not lacking:
                heappush(self._ready, place)

    def take(self, most: int, allows: Callable[[Step], bool]) -> list[Step]:
        """So many steps whose inputs are there, the first ones of the plan. One that is not allowed is never again."""
        taken: list[Step] = []
        while self._ready and len(taken) < most:
            step = self._steps[heappop(self._ready)]
            if allows(step):
                taken.append(step)
        return taken

    def finished(self, key: str) -> None:
        """An artifact is there."""
        for place in self._readers.pop(key, []):
            self._lacking[place] -= 1
            if not self._lacking[place]:
                heappush(self._ready, place)
