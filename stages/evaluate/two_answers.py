"""Two answers to a prompt, and which of them a scorer prefers.

The one decision: scores no further apart than their measured noise are a tie, and a missing score is no preference.
"""

from collections.abc import Iterator
from itertools import groupby

from stages.artifacts import Row, Scores


def two_answers(scores: Scores, columns: list[str], made_by: str) -> Iterator[tuple[Row, Row]]:
    """Of each prompt samples 0 and 1.

    Args:
        columns: which are read besides ``prompt_id``, ``sample``, ``score`` and ``score_noise``.
        made_by: the stage whose answers are to be scored, for the error.

    Raises:
        ValueError: a prompt has not just these two.
    """
    rows = scores.rows(["prompt_id", "sample", "score", "score_noise", *columns])
    for prompt_id, answers in groupby(rows, key=lambda row: row["prompt_id"]):
        both = list(answers)
        if [row["sample"] for row in both] != [0, 1]:
            raise ValueError(f"prompt {prompt_id!r} has not two answers; what is scored must be {made_by}")
        yield both[0], both[1]


def preference(one: Row, other: Row) -> float | None:
    """1 if the first has the higher score, 0 if the second has, 0.5 for a tie; None if one has no score."""
    if one["score"] is None or other["score"] is None:
        return None
    gap = one["score"] - other["score"]
    if abs(gap) <= max(one["score_noise"] or 0.0, other["score_noise"] or 0.0):
        return 0.5
    return 1.0 if gap > 0 else 0.0
