"""Best against worst: one pair a prompt.

The one decision: an answer that cannot be compared honestly (cut off, empty, over-long, a repetition, without a score)
is dropped and counted before anything is chosen, and a prompt with too few left gives no pair.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from stages.artifacts import Pairs, Scores
from stages.foreseen import Foreseen, Size
from stages.pairs.length import Unit, balancing_penalty, best_and_worst, mean_gap
from stages.pairs.pairing import report, write_pairs
from stages.pairs.validity import Miner


@dataclass(frozen=True, kw_only=True)
class Extremes(Miner):
    """chosen = highest, rejected = lowest penalised score (DICE, arXiv 2406.09760).

    A margin that is not above the measured noise of the scores is a tie: it is dropped and counted.

    Args:
        length_penalty: α of s − α·length, or ``balance`` for the α that makes the mean length gap vanish (DICE).
        length_unit: what α counts. DICE's code counts characters.

    The other fields are those of every Miner.
    """

    VERSION: ClassVar[int] = 1

    length_penalty: float | Literal["balance"] = 0.0
    length_unit: Unit = "characters"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.length_penalty != "balance" and self.length_penalty < 0:
            raise ValueError(f"length_penalty must be at least 0 or 'balance', not {self.length_penalty}")

    def foresee(self, *, scores: Size) -> Foreseen:
        """At most a pair a prompt."""
        return Foreseen(size=replace(scores, rows=scores.prompts))

    def __call__(self, *, scores: Scores, out: Pairs) -> Mapping[str, float]:
        """One pair a prompt, in the scores' order.

        Raises:
            ValueError: a prompt has another number of answers, or every pair was dropped.
        """
        from stages.pairs.picture import sweep

        counts: Counter[str] = Counter()
        candidates = self.candidates(scores, self.length_unit, counts)
        alpha = balancing_penalty(candidates) if self.length_penalty == "balance" else self.length_penalty
        picks = best_and_worst(candidates, alpha)
        write_pairs(scores, candidates, picks, self.preference_scale, counts, out)
        sweep(out, candidates, alpha, self.length_unit)
        gaps = {"alpha": alpha, "gap_unpenalised": mean_gap(candidates, 0.0), "gap": mean_gap(candidates, alpha)}
        return {**report(out, counts, self.length_unit), **gaps}
