"""From chosen places to Pairs: what every miner does once it knows which answer is the better one.

The one decision: rows are streamed once more instead of kept, and every prompt that gives no pair is counted by reason.
"""

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from stages.artifacts import Pairs, Row, Scores
from stages.pairs.candidates import Candidates, Picks, taken
from stages.pairs.length import Unit
from stages.pairs.validity import RULES

COLUMNS = [
    *("prompt_id", "prompt", "sample", "completion", "score", "label_source"),
    *("prompt_tokens", "completion_tokens", "policy_logp", "scored_policy"),
]
"""What a pair takes from its two answers."""
CAUSES = {
    "ties": "scores that are equal or closer than their noise (see saturation of the scorer)",
    "dropped_truncated": "answers that were cut off (max_new_tokens)",
    "dropped_empty": "answers that are nearly empty (shortest; does the model end its turn at once?)",
    "dropped_overlong": "answers that are too long (longest)",
    "dropped_unscored": "answers without a score (see the scorer's null_ counts)",
    "dropped_duplicate": "answers that are all alike (temperature)",
}
"""What most likely stands behind each reason for which a prompt gave no pair."""


def write_pairs(
    scores: Scores,
    candidates: Candidates,
    picks: Picks,
    scale: float | None,
    counts: Counter[str],
    out: Pairs,
) -> None:
    """Write a pair for each candidate whose margin is above the noise of its scores; the others are ties.

    Args:
        scale: where scores are log-odds, the factor that makes them so: P(y_i ≻ y_j) = σ(scale·(s_i − s_j)).

    Raises:
        ValueError: none is left.
    """
    wanted = ((picks.margin > candidates.noise) & (picks.best != picks.worst)).nonzero()[0]
    counts["ties"] = len(candidates.noise) - len(wanted)
    _check_unit(scores, scale)
    if not len(wanted):
        told = ", ".join(f"{name.replace('_', ' ')} {n}" for name, n in sorted(counts.items()) if name != "prompts")
        causes = "; ".join(cause for name, cause in CAUSES.items() if counts[name])
        raise ValueError(f"no pair is left of {counts['prompts']} prompts: {told}. Likely causes: {causes}")
    counts["pairs"] = out.write(_rows(scores, candidates, picks, wanted, scale))


def _rows(scores: Scores, candidates: Candidates, picks: Picks, wanted: Any, scale: float | None) -> Iterator[Row]:
    import numpy as np

    best, worst = (taken(candidates.places, chosen)[wanted] for chosen in (picks.best, picks.worst))
    rows = scores.rows_at(np.sort(np.stack([best, worst], axis=1)).ravel(), COLUMNS)
    margins = picks.margin[wanted].tolist()
    for prompt, margin, best_first, one, other in zip(wanted, margins, best < worst, rows, rows, strict=True):
        pair = _pair(one, other, margin) if best_first else _pair(other, one, margin)
        yield pair | _odds(picks, prompt, candidates.valid[prompt], scale)


def _check_unit(scores: Scores, scale: float | None) -> None:
    if scale is None:
        return
    units = {row["score_unit"] for row in scores.rows(["score_unit"])} & {"points", "probability"}
    if units:
        raise ValueError(f"scores in {units.pop()} are no log-odds, whatever the preference_scale; leave it out")


def _pair(best: Row, worst: Row, margin: float) -> Row:
    return {
        "prompt_id": best["prompt_id"],
        "prompt": best["prompt"],
        "chosen": best["completion"],
        "rejected": worst["completion"],
        "chosen_sample": best["sample"],
        "rejected_sample": worst["sample"],
        "chosen_score": best["score"],
        "rejected_score": worst["score"],
        "margin": margin,
        "source": "mined",
        "label_source": best["label_source"],
        "prompt_tokens": best["prompt_tokens"],
        "chosen_tokens": best["completion_tokens"],
        "rejected_tokens": worst["completion_tokens"],
        "chosen_logp": best["policy_logp"],
        "rejected_logp": worst["policy_logp"],
        "scored_policy": best["scored_policy"],
    }


def _odds(picks: Picks, prompt: int, valid: int, scale: float | None) -> Row:
    """Probabilities that the values come to, where they are log-odds: by what the pair was chosen by, penalties and
    all, so that no preference contradicts its pair."""
    if scale is None:
        return {}
    own = picks.values[prompt, :valid].tolist()

    def beats(first: int, second: int) -> float:
        return (1 + math.tanh(scale * (own[first] - own[second]) / 2)) / 2

    def wins(index: int) -> float:
        return sum(beats(index, other) for other in range(len(own))) / len(own)

    best, worst = picks.best[prompt], picks.worst[prompt]
    return {
        "preference": beats(best, worst),
        "chosen_wins": wins(best),
        "rejected_wins": wins(worst),
    }


def report(out: Pairs, counts: Mapping[str, int], unit: Unit) -> Mapping[str, float]:
    """Counts by reason and what the pairs look like, in numbers and pictures."""
    from stages.pairs.picture import picture

    return {
        "pairs": counts["pairs"],
        "ties": counts["ties"],
        "dropped": sum(counts[f"dropped_{rule}"] for rule in RULES),
        "too_few_valid": counts["too_few_valid"],
        **picture(out, unit),
        **{f"dropped_{rule}": counts[f"dropped_{rule}"] for rule in RULES},
    }
