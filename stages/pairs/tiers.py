"""Meta-Rewarding's length control: among nearly best answers the shortest, among nearly worst ones the longest.

The one decision: without length control this is Self-Rewarding's rule, the highest score against the lowest.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from stages.artifacts import Pairs, Scores
from stages.pairs.pairing import Chosen, report, write_pairs
from stages.pairs.validity import Candidate, Miner


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

    def __call__(self, *, scores: Scores, out: Pairs) -> Mapping[str, float]:
        """One pair a prompt, in the scores' order.

        Raises:
            ValueError: a prompt has another number of answers, or every pair was dropped.
        """
        counts: Counter[str] = Counter()
        candidates = list(self.candidates(scores, "characters", counts))
        picks = [pick(candidate, self.length_control) for candidate in candidates]
        write_pairs(scores, candidates, picks, self.preference_scale, counts, out)
        return report(out, counts, "characters")


def pick(candidate: Candidate, rho: float) -> Chosen:
    """The pair of one prompt; of equally long ones the first."""
    values, lengths = candidate.scores, candidate.lengths
    highest, lowest = max(values), min(values)
    slack = rho * (highest - lowest) + 1e-9 * abs(highest - lowest)
    top = [place for place, value in enumerate(values) if value >= highest - slack]
    bottom = [place for place, value in enumerate(values) if value <= lowest + slack]
    best, worst = min(top, key=lengths.__getitem__), max(bottom, key=lengths.__getitem__)
    return Chosen(best=best, worst=worst, values=values)
