"""The length penalty: s(x, y) − α·len(y), and DICE's α that makes winners on average no longer than losers.

The one decision: the mean signed length gap g(α) is a non-increasing step function, so its root is found by bisection,
exactly and cheaply, instead of by a sweep with a step size (DICE, arXiv 2406.09760).
"""

from collections.abc import Sequence
from typing import Literal

Unit = Literal["characters", "tokens", "words"]
Candidates = Sequence[tuple[Sequence[float], Sequence[float]]]
"""For each prompt, the scores and the lengths of its answers."""


def length(text: str, tokens: Sequence[int], unit: Unit) -> int:
    """How long an answer is; white space around it does not count."""
    if unit == "characters":
        return len(text.strip())
    return len(tokens) if unit == "tokens" else len(text.split())


def best_and_worst(scores: Sequence[float], lengths: Sequence[float], alpha: float) -> tuple[int, int]:
    """Indices of the highest and the lowest penalised score; the first of equals."""
    values = penalised(scores, lengths, alpha)
    places = range(len(values))
    return max(places, key=values.__getitem__), min(places, key=values.__getitem__)


def penalised(scores: Sequence[float], lengths: Sequence[float], alpha: float) -> list[float]:
    """s − α·length of each answer."""
    return [score - alpha * size for score, size in zip(scores, lengths, strict=True)]


def mean_gap(candidates: Candidates, alpha: float) -> float:
    """g(α) = mean over prompts of len(chosen) − len(rejected)."""
    gaps = []
    for scores, lengths in candidates:
        best, worst = best_and_worst(scores, lengths, alpha)
        gaps.append(lengths[best] - lengths[worst])
    return sum(gaps) / len(gaps)


def balancing_penalty(candidates: Candidates) -> float:
    """The α ≥ 0 with the smallest \\|g(α)\\|, in score units for each unit of length.

    0 when winners are not longer than losers to begin with: a penalty can only make them shorter.
    """
    if not candidates or mean_gap(candidates, 0.0) <= 0:
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
    scores = [max(scores) - min(scores) for scores, _ in candidates]
    lengths = [max(lengths) - min(lengths) for _, lengths in candidates]
    return max(sum(scores) / max(sum(lengths), 1e-12), 1e-12)
