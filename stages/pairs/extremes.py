"""Best against worst: one pair a prompt.

The one decision: an answer that cannot be compared honestly (cut off, empty, over-long, a repetition, without a score)
is dropped and counted before anything is chosen, and a prompt with too few left gives no pair.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from stages.artifacts import Pairs, Row, Scores
from stages.pairs.length import Unit, balancing_penalty, best_and_worst, mean_gap
from stages.pairs.validity import RULES, Validity


@dataclass(frozen=True, kw_only=True)
class Extremes:
    """chosen = highest, rejected = lowest penalised score (DICE; with no penalty, Self-Rewarding).

    A margin that is not above the measured noise of the scores is a tie: it is dropped and counted.

    Args:
        n: answers a prompt, at least two; a prompt that has another number is an error.
        length_penalty: α of s − α·length, or ``balance`` for the α that makes the mean length gap vanish (DICE).
        length_unit: what α counts. DICE's code counts characters.
        shortest, longest: an answer of at most ``shortest`` or at least ``longest`` characters is dropped (as in DICE).
        min_valid: a prompt needs ceil(min_valid · n) valid answers (DICE: 8 of 16), and never fewer than two.
    """

    VERSION: ClassVar[int] = 1

    n: int
    length_penalty: float | Literal["balance"] = 0.0
    length_unit: Unit = "characters"
    shortest: int = 3
    longest: int = 6700
    min_valid: float = 0.5

    def __post_init__(self) -> None:
        if self.length_penalty != "balance" and self.length_penalty < 0:
            raise ValueError(f"length_penalty must be at least 0 or 'balance', not {self.length_penalty}")
        self._rules()

    def __call__(self, *, scores: Scores, out: Pairs) -> Mapping[str, float]:
        """One pair a prompt, in the scores' order.

        Raises:
            ValueError: a prompt has another number of answers, or every pair was dropped.
        """
        counts: Counter[str] = Counter()
        candidates = list(self._rules().candidates(scores, self.length_unit, counts))
        numbers = [(candidate.scores, candidate.lengths) for candidate in candidates]
        alpha = balancing_penalty(numbers) if self.length_penalty == "balance" else self.length_penalty
        chosen: dict[int, tuple[int, int, float]] = {}
        for candidate in candidates:
            values, lengths, places = candidate.scores, candidate.lengths, candidate.places
            best, worst = best_and_worst(values, lengths, alpha)
            margin = values[best] - values[worst] - alpha * (lengths[best] - lengths[worst])
            if margin > candidate.noise:
                chosen[places[0]] = (places[best], places[worst], margin)
        counts["ties"] = len(candidates) - len(chosen)
        pairs = out.write(self._pairs(scores, chosen))
        if pairs == 0:
            raise ValueError(f"no pair is left of {counts['prompts']} prompts: {_told(counts)}")
        return self._report(out, numbers, alpha, pairs, counts)

    def _rules(self) -> Validity:
        return Validity(n=self.n, shortest=self.shortest, longest=self.longest, min_valid=self.min_valid)

    def _pairs(self, scores: Scores, chosen: Mapping[int, tuple[int, int, float]]) -> Iterator[Row]:
        """Stream the rows once more and put the chosen places together."""
        wanted = {place: first for first, (best, worst, _) in chosen.items() for place in (best, worst)}
        waiting: dict[int, dict[int, Row]] = {}
        for place, row in enumerate(scores.rows()):
            if place not in wanted:
                continue
            first = wanted[place]
            found = waiting.setdefault(first, {})
            found[place] = row
            if len(found) == 2:
                best, worst, margin = chosen[first]
                del waiting[first]
                yield _pair(found[best], found[worst], margin)

    def _report(
        self, out: Pairs, numbers: list[tuple[list[float], list[float]]], alpha: float, pairs: int, counts: Counter[str]
    ) -> Mapping[str, float]:
        from stages.pairs.picture import picture

        lengths = picture(out, numbers, alpha, self.length_unit)
        return {
            "pairs": pairs,
            "ties": counts["ties"],
            "dropped": sum(counts[f"dropped_{rule}"] for rule in RULES),
            "too_few_valid": counts["too_few_valid"],
            **lengths,
            "alpha": alpha,
            "gap_unpenalised": mean_gap(numbers, 0.0),
            "gap": mean_gap(numbers, alpha),
            **{f"dropped_{rule}": counts[f"dropped_{rule}"] for rule in RULES},
        }


def _pair(best: Row, worst: Row, margin: float) -> dict[str, Any]:
    return {
        "prompt_id": best["prompt_id"],
        "prompt": best["prompt"],
        "chosen": best["completion"],
        "rejected": worst["completion"],
        "chosen_score": best["score"],
        "rejected_score": worst["score"],
        "margin": margin,
        "source": "mined",
        "prompt_tokens": best["prompt_tokens"],
        "chosen_tokens": best["completion_tokens"],
        "rejected_tokens": worst["completion_tokens"],
        "chosen_logp": best["policy_logp"],
        "rejected_logp": worst["policy_logp"],
        "scored_policy": best["scored_policy"],
    }


def _told(counts: Counter[str]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {count}" for name, count in sorted(counts.items()) if name != "prompts")
