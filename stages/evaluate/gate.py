"""Whether what a round has made deserves to go on, by rules over its reports.

The one decision: a verdict is a report like any other. It is made without the models, and Keep hands on by it as many
things as belong together.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from stages.artifacts import Report
from stages.evaluate.rules import Rules, decide


@dataclass(frozen=True, kw_only=True)
class Gate(Rules):
    """Keeps the incumbent if the candidate breaks a rule."""

    VERSION: ClassVar[int] = 1

    def __call__(self, *, candidate: Report, incumbent: Report, monitor: Report, out: Report) -> Mapping[str, float]:
        """The verdict.

        Args:
            candidate: its Probe.
            incumbent: the incumbent's Probe, or the verdict by which it came to be the incumbent.
            monitor: the candidate's Monitor.
            out: see ``decide``.
        """
        return decide(self.rules(candidate, incumbent, monitor), candidate, incumbent, out)
