"""A gate for loops in which the policy is its own judge: it must still be able to tell answers apart.

The one decision: the candidate's judging is examined before it judges. A judge that gives one score to everything makes
no labels worth training on, and by then no better model would be at hand.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from stages.artifacts import Report
from stages.evaluate.rules import Rule, Rules, decide


@dataclass(frozen=True, kw_only=True)
class JudgedGate(Rules):
    """Gate, with two rules more on how the candidate judges held-out pairs.

    Args:
        saturation: the largest share of answers that may have the same score.
        unscored: the largest share of pairs that may be without a score for both answers.
    """

    VERSION: ClassVar[int] = 1

    saturation: float = 0.6
    unscored: float = 0.8

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.saturation <= 1 or not 0 <= self.unscored <= 1:
            raise ValueError("saturation must be in (0, 1] and unscored in [0, 1]")

    def __call__(
        self, *, candidate: Report, incumbent: Report, monitor: Report, judge: Report, out: Report
    ) -> Mapping[str, float]:
        """The verdict, as Gate's; ``judge`` is the candidate's Agreement. One that gave no score breaks both rules."""
        found = judge.read()
        same = 1.0 if found["saturation"] is None else found["saturation"]
        examined = [
            Rule(
                "saturation",
                same <= self.saturation,
                f"as a judge it has one score, or none, for {same:.0%} of answers",
            ),
            Rule(
                "unscored", found["unscored"] <= self.unscored, f"as a judge it leaves {found['unscored']:.0%} unscored"
            ),
        ]
        return decide([*self.rules(candidate, incumbent, monitor), *examined], candidate, incumbent, out)
