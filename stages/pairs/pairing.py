"""From chosen places to Pairs: what every miner does once it knows which answer is the better one.

The one decision: rows are streamed once more instead of kept, and every prompt that gives no pair is counted by reason.
"""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from stages.artifacts import Pairs, Row, Scores
from stages.pairs.length import Unit
from stages.pairs.validity import RULES, Candidate


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """A candidate's indices of the better and the worse answer, by these values of all its answers."""

    best: int
    worst: int
    values: Sequence[float]

    @property
    def margin(self) -> float:
        """By how much the better one is better."""
        return self.values[self.best] - self.values[self.worst]


def write_pairs(
    scores: Scores,
    candidates: Sequence[Candidate],
    picks: Sequence[Chosen],
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
    wanted = [
        (candidate, pick)
        for candidate, pick in zip(candidates, picks, strict=True)
        if pick.margin > candidate.noise and pick.best != pick.worst
    ]
    counts["ties"] = len(candidates) - len(wanted)
    _check_unit(scores, scale)
    if not wanted:
        told = ", ".join(f"{name.replace('_', ' ')} {n}" for name, n in sorted(counts.items()) if name != "prompts")
        raise ValueError(f"no pair is left of {counts['prompts']} prompts: {told}")
    counts["pairs"] = out.write(_rows(scores, wanted, scale))


def _rows(scores: Scores, wanted: Sequence[tuple[Candidate, Chosen]], scale: float | None) -> Iterator[Row]:
    waiting = iter(wanted)
    candidate, pick = next(waiting)
    found: dict[int, Row] = {}
    for place, row in enumerate(scores.rows()):
        if place in (candidate.places[pick.best], candidate.places[pick.worst]):
            found[place] = row
        if len(found) == 2:
            best, worst = found[candidate.places[pick.best]], found[candidate.places[pick.worst]]
            yield _pair(best, worst, pick.margin) | _odds(pick, scale)
            found = {}
            following = next(waiting, None)
            if following is None:
                return
            candidate, pick = following


def _check_unit(scores: Scores, scale: float | None) -> None:
    units = {row["score_unit"] for row in scores.rows(["score_unit"])} & {"points", "probability"}
    if scale is not None and units:
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


def _odds(pick: Chosen, scale: float | None) -> Row:
    """Probabilities that the values come to, where they are log-odds: by what the pair was chosen by, penalties and
    all, so that no preference contradicts its pair."""
    if scale is None:
        return {}
    own = pick.values

    def beats(first: int, second: int) -> float:
        return (1 + math.tanh(scale * (own[first] - own[second]) / 2)) / 2

    def wins(index: int) -> float:
        return sum(beats(index, other) for other in range(len(own))) / len(own)

    return {
        "preference": beats(pick.best, pick.worst),
        "chosen_wins": wins(pick.best),
        "rejected_wins": wins(pick.worst),
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
