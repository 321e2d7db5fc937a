"""The length penalty: s(x, y) − α·len(y), and DICE's α that makes winners on average no longer than losers.

The one decision: the mean signed length gap g(α) is a non-increasing step function, so its root is found by bisection,
exactly and cheaply, instead of by a sweep with a step size (DICE, arXiv 2406.09760).
"""

from collections.abc import Sequence
from typing import Any, Literal

from stages.pairs.candidates import Candidates, Picks, taken

Unit = Literal["characters", "tokens", "words"]


def length(text: str, tokens: Sequence[int], unit: Unit) -> int:
    """How long an answer is; white space around it does not count."""
    if unit == "characters":
        return len(text.strip())
    return len(tokens) if unit == "tokens" else len(text.split())


def best_and_worst(candidates: Candidates, alpha: float) -> Picks:
    """The highest and the lowest penalised score s − α·length of each prompt; the first of equals."""
    values = candidates.scores - alpha * candidates.lengths
    return Picks(best=values.argmax(axis=1), worst=values.argmin(axis=1), values=values)


def mean_gap(candidates: Candidates, alpha: float) -> float:
    """g(α) = mean over prompts of len(chosen) − len(rejected)."""
    picks = best_and_worst(candidates, alpha)
    gaps = taken(candidates.lengths, picks.best) - taken(candidates.lengths, picks.worst)
    return float(gaps.sum() / len(gaps))


def balancing_penalty(candidates: Candidates) -> float:
    """The α ≥ 0 with the smallest \\|g(α)\\|, in score units for each unit of length.

    0 when winners are not longer than losers to begin with: a penalty can only make them shorter.
    """
    if not len(candidates.scores) or mean_gap(candidates, 0.0) <= 0:
        return 0.0
    low, high = 0.0, typical_penalty(candidates)
    while mean_gap(candidates, high) > 0:
        low, high = high, 2 * high
        if high > 1e12:
            return 0.0
    while high - low > 1e-9 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if mean_gap(candidates, middle) > 0 else (low, middle)
    return min((low, high), key=lambda alpha: abs(mean_gap(candidates, alpha)))


def typical_penalty(candidates: Candidates) -> float:
    """The spread of scores over the spread of lengths: the order of magnitude at which a penalty begins to matter."""
    return max(_spread(candidates.scores) / max(_spread(candidates.lengths), 1e-12), 1e-12)


def _spread(values: Any) -> float:
    """Summed from first to last, so that the last digit of α is the same on every machine."""
    spread: list[float] = (values.max(axis=1) - values.min(axis=1)).tolist()
    return sum(spread)
