"""What every scorer says of its scores: how many, why the others are missing, how they are spread.

The one decision: a scorer whose labels mostly fail is stopped here, with the words that failed, before anything is
trained on the few that did not.
"""

from collections import Counter
from collections.abc import Mapping
from itertools import groupby
from statistics import fmean, pstdev

from stages.artifacts import Model, Row, Scores

UNJUDGED = ("truncated", "overlong", "nothing_to_compare")
"""Reasons that lie in the answer and not in the judge."""


def label_source(row: Row, scorer: Model) -> str:
    """``self`` if the model that scores a completion is the one that it was sampled from, else ``outside``."""
    return "self" if row["sampled_from"] == scorer.identity else "outside"


def summary(out: Scores, what: str, floor: float = 0.0) -> Mapping[str, float]:
    """Numbers of all scores and a picture of them.

    Args:
        what: the score's name and unit, for the picture.
        floor: the least share of prompts with something to judge of which at least one answer must have a score.

    Raises:
        ValueError: there is less, or every score is exactly 0.
    """
    from stages.plots import histogram

    rows = list(out.rows(["prompt_id", "score", "null_reason"]))
    scores = [row["score"] for row in rows if row["score"] is not None]
    reasons = Counter(row["null_reason"] for row in rows if row["score"] is None)
    _check_share(out, rows, floor, reasons)
    if scores and not any(scores):
        raise ValueError("every score is exactly 0: policy and reference have the same weights, or the judge is stuck")
    told = {"scored": len(scores), "null": len(rows) - len(scores)}
    if scores:
        histogram(scores, out.plots / "reward_histogram.png", what, "answers")
        commonest = Counter(scores).most_common(1)[0][1]
        spread = {"score_mean": fmean(scores), "score_std": pstdev(scores), "saturation": commonest / len(scores)}
    return {**told, **(spread if scores else {}), **{f"null_{reason}": n for reason, n in sorted(reasons.items())}}


def _check_share(out: Scores, rows: list[Row], floor: float, reasons: Counter[str]) -> None:
    judged, scored = 0, 0
    for _, answers in groupby(rows, key=lambda row: row["prompt_id"]):
        own = [row for row in answers if row["null_reason"] not in UNJUDGED]
        judged += bool(own)
        scored += any(row["score"] is not None for row in own)
    if scored < floor * judged:
        told = out.rows(["judgements", "votes", "null_reason"])
        failed = [row for row in told if row["null_reason"] not in (None, *UNJUDGED)]
        shown = "; ".join(repr(_failed_words(row)) for row in failed[:3])
        raise ValueError(
            f"only {scored} of {judged} prompts have an answer with a score, under the floor of {floor:.0%}: "
            f"{dict(reasons)}. Three of the judgements that gave none: {shown}"
        )


def _failed_words(row: Row) -> str:
    """The first judgement that came to nothing: its beginning, and its end, where a verdict would stand."""
    judgements = row["judgements"] or ["no words"]
    words: str = judgements[(row["votes"] or [None]).index(None)]
    return words if len(words) <= 200 else f"{words[:80]} … {words[-120:]}"
