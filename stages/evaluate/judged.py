"""Two models' answers after they were scored: who is preferred, prompt by prompt.

The one decision: a judgement that went missing is no tie. A step fails if more are missing than the recipe allows,
because answers that cannot be judged (cut off, over-long) are not a random part of all.
"""

from collections import Counter
from dataclasses import dataclass

from stages.artifacts import Row, Scores
from stages.evaluate.two_answers import preference, two_answers


@dataclass(frozen=True, kw_only=True)
class Judged:
    """One prompt: the preference for the candidate, 1, 0 or ½ for a tie, and both answers' length in characters.

    ``preference`` is None where one of the two has no score, and then ``missing`` says why.
    """

    prompt_id: str
    preference: float | None
    missing: str | None
    candidate_characters: int
    baseline_characters: int


def judged(scores: Scores, missing_allowed: float) -> list[Judged]:
    """Of scores of SideBySide, in their order.

    Raises:
        ValueError: the rows are not two answers a prompt, or too many judgements are missing.
    """
    found = [_judged(*both) for both in two_answers(scores, ["completion", "null_reason"], "SideBySide")]
    reasons = Counter(each.missing for each in found if each.missing is not None)
    if not found:
        raise ValueError("there is nothing to compare: the scores have no rows")
    if reasons.total() == len(found) or reasons.total() > missing_allowed * len(found):
        raise ValueError(
            f"{reasons.total()} of {len(found)} prompts have no judgement ({dict(reasons)}), more than missing_allowed "
            f"= {missing_allowed:g}. A truncated answer needs more new tokens; or allow a larger share"
        )
    return found


def check_allowed(missing_allowed: float) -> None:
    """
    Raises:
        ValueError: it is no share, or all of the judgements might be missing.
    """
    if not 0 <= missing_allowed < 1:
        raise ValueError(f"missing_allowed is a share of the prompts, in [0, 1), not {missing_allowed}")


def _judged(candidate: Row, baseline: Row) -> Judged:
    unscored = [row["null_reason"] or "unscored" for row in (candidate, baseline) if row["score"] is None]
    ours, theirs = (len(row["completion"][0]["content"]) for row in (candidate, baseline))
    return Judged(
        prompt_id=candidate["prompt_id"],
        preference=preference(candidate, baseline),
        missing=unscored[0] if unscored else None,
        candidate_characters=ours,
        baseline_characters=theirs,
    )
