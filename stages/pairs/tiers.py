"""Meta-Rewarding's length control: among nearly best answers the shortest, among nearly worst ones the longest.

The one decision: without length control this is Self-Rewarding's rule, the highest score against the lowest.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from stages.artifacts import Pairs, Scores
from stages.foreseen import Foreseen, Size
from stages.pairs.candidates import Candidates, Picks
from stages.pairs.pairing import report, write_pairs
from stages.pairs.validity import Miner


@dataclass(frozen=True, kw_only=True)
class Tiers(Miner):
    """chosen = shortest with a score in [(1 − ρ)·S_max + ρ·S_min, S_max]; rejected = longest with a score in
    [S_min, (1 − ρ)·S_min + ρ·S_max] (Meta-Rewarding, arXiv 2407.19594). Equal scores are a tie, dropped and counted.

    Args:
        length_control: ρ in [0, 0.5); 0 is Self-Rewarding (arXiv 2401.10020).

    The other fields are those of every Miner. Length is in characters.
    """

    VERSION: ClassVar[int] = 1

    length_control: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.length_control < 0.5:
            raise ValueError(f"length_control must be in [0, 0.5), or the tiers meet, not {self.length_control}")

    def foresee(self, *, scores: Size) -> Foreseen:
        """At most a pair a prompt."""
        return Foreseen(size=replace(scores, rows=scores.prompts))

    def __call__(self, *, scores: Scores, out: Pairs) -> Mapping[str, float]:
        """One pair a prompt, in the scores' order.

        Raises:
            ValueError: a prompt has another number of answers, or every pair was dropped.
        """
        counts: Counter[str] = Counter()
        candidates = self.candidates(scores, "characters", counts)
        write_pairs(scores, candidates, pick(candidates, self.length_control), self.preference_scale, counts, out)
        return report(out, counts, "characters")


def pick(candidates: Candidates, rho: float) -> Picks:
    """The pair of each prompt; of equally long ones the first."""
    import numpy as np

    values, lengths = candidates.scores, candidates.lengths
    highest, lowest = values.max(axis=1, keepdims=True), values.min(axis=1, keepdims=True)
    slack = rho * (highest - lowest) + 1e-9 * abs(highest - lowest)
    shortest = np.where(values >= highest - slack, lengths, np.inf).argmin(axis=1)
    longest = np.where(values <= lowest + slack, lengths, -np.inf).argmax(axis=1)
    return Picks(best=shortest, worst=longest, values=values)
