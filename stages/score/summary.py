"""What every scorer says of its scores: how many, why the others are missing, how they are spread.

The one decision: a scorer whose labels mostly fail is stopped here, with the words that failed, before anything is
trained on the few that did not.
"""

from array import array
from collections import Counter
from collections.abc import Mapping
from itertools import groupby, islice
from statistics import fmean, pstdev

from stages.artifacts import Model, Row, Scores

UNJUDGED = ("truncated", "overlong", "nothing_to_compare")
"""Reasons that lie in the answer and not in the judge."""
SATURATED = 0.6
"""A scorer that gives one score to a larger share of the answers no longer tells them apart."""
STUCK = 10
"""So many scores that are all equal are no chance."""


def label_source(row: Row, scorer: Model) -> str:
    """``self`` if the model that scores a completion is the one that it was sampled from, else ``outside``."""
    return "self" if row["sampled_from"] == scorer.identity else "outside"


def summary(out: Scores, what: str, floor: float = 0.0) -> Mapping[str, float]:
    """Numbers of all scores and a picture of them.

    Args:
        what: the score's name and unit, for the picture.
        floor: the least share of prompts with something to judge of which at least one answer must have a score; 0
            where a judge is only measured, whatever it says.

    Raises:
        ValueError: there is less, or above a floor of 0 every score is exactly 0, or many are all equal.
    """
    import numpy as np

    from stages.plots import histogram

    scores, reasons, judged, answered = array("d"), Counter[str](), 0, 0
    rows = out.rows(["prompt_id", "score", "null_reason"])
    for _, answers in groupby(rows, key=lambda row: row["prompt_id"]):
        own = list(answers)
        scores.extend(row["score"] for row in own if row["score"] is not None)
        reasons.update(row["null_reason"] for row in own if row["score"] is None)
        own = [row for row in own if row["null_reason"] not in UNJUDGED]
        judged += bool(own)
        answered += any(row["score"] is not None for row in own)
    if answered < floor * judged:
        raise ValueError(_failures(out, f"only {answered} of {judged}", floor, reasons))
    if floor and scores and min(scores) == max(scores) and (scores[0] == 0 or len(scores) >= STUCK):
        raise ValueError(
            f"every score is exactly {scores[0]:g} ({len(scores)} scores, {judged} prompts), so no answer is better. "
            "Likely causes: policy and reference have the same weights (all 0), a judge that always says the same "
            "(see its judgements in the draft), or answers that are all alike (temperature)"
        )
    told = {"scored": len(scores), "null": reasons.total()}
    if scores:
        histogram(scores, out.plots / "reward_histogram.png", what, "answers")
        commonest = int(np.unique(scores, return_counts=True)[1].max()) / len(scores)
        spread = {"score_mean": fmean(scores), "score_std": pstdev(scores)}
        spread |= {"saturation": commonest, "saturated": float(commonest > SATURATED)}
    return {**told, **(spread if scores else {}), **{f"null_{reason}": n for reason, n in sorted(reasons.items())}}


def _failures(out: Scores, found: str, floor: float, reasons: Counter[str]) -> str:
    told = out.rows(["judgements", "votes", "null_reason"])
    failed = islice((row for row in told if row["null_reason"] not in (None, *UNJUDGED)), 3)
    shown = "; ".join(repr(_failed_words(row)) for row in failed)
    return (
        f"{found} prompts have an answer with a score, under the floor of {floor:.0%}: "
        f"{dict(reasons)}. Three of the judgements that gave none: {shown}"
    )


def _failed_words(row: Row) -> str:
    """The first judgement that came to nothing: its beginning, and its end, where a verdict would stand."""
    judgements = row["judgements"] or ["no words"]
    words: str = judgements[(row["votes"] or [None]).index(None)]
    return words if len(words) <= 200 else f"{words[:80]} … {words[-120:]}"
