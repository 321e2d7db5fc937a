"""How often one model's answers are preferred to another's, with what it is worth.

The one decision: a judgement that went missing is no tie. The step fails if more are missing than the recipe allows,
because answers that cannot be judged (cut off, over-long) are not a random part of all.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import ClassVar

from stages.artifacts import Report, Scores
from stages.evaluate.length_control import minimal_length_controlled, raw
from stages.evaluate.two_answers import preference, two_answers


@dataclass(frozen=True, kw_only=True)
class WinRate:
    """The candidate's win rate over the baseline, raw and minimal length-controlled, with 95 % intervals.

    A win is the higher score, whatever its unit; scores no further apart than their measured noise are a tie and count
    half. Whether both orders were asked is the scorer's matter: ``Pairwise`` asks both.

    Args:
        missing_allowed: the largest share of prompts for which one of the two answers may have no score.
    """

    VERSION: ClassVar[int] = 1

    missing_allowed: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.missing_allowed < 1:
            raise ValueError(f"missing_allowed is a share of the prompts, in [0, 1), not {self.missing_allowed}")

    def __call__(self, *, scores: Scores, out: Report) -> Mapping[str, float]:
        """Of scores of SideBySide. The rates are over the prompts that were judged; ``missing`` is the others' share.

        What cannot be told, the length-controlled rate where lengths never differ, is null in the report.

        Raises:
            ValueError: the rows are not two answers a prompt, or too many judgements are missing.
        """
        preferences, longer, reasons = list[float](), list[float](), Counter[str]()
        lengths: tuple[list[int], list[int]] = ([], [])
        for rows in two_answers(scores, ["completion", "null_reason"], "SideBySide"):
            preferred = preference(*rows)
            if preferred is None:
                reasons[next(row["null_reason"] or "unscored" for row in rows if row["score"] is None)] += 1
                continue
            candidate, baseline = (len(row["completion"][0]["content"]) for row in rows)
            preferences.append(preferred)
            longer.append(candidate - baseline)
            lengths[0].append(candidate)
            lengths[1].append(baseline)
        self._check(len(preferences), reasons)
        report = {
            **_rates(preferences, longer),
            "wins": float(preferences.count(1.0)),
            "ties": float(preferences.count(0.5)),
            "losses": float(preferences.count(0.0)),
            "missing": reasons.total() / (len(preferences) + reasons.total()),
            "characters": fmean(lengths[0]),
            "baseline_characters": fmean(lengths[1]),
        }
        out.write(report)
        return {name: value for name, value in report.items() if value is not None}

    def _check(self, judged: int, reasons: Counter[str]) -> None:
        missing, prompts = reasons.total(), judged + reasons.total()
        if not prompts:
            raise ValueError("there is nothing to compare: the scores have no rows")
        if not judged or missing > self.missing_allowed * prompts:
            raise ValueError(
                f"{missing} of {prompts} prompts have no judgement ({dict(reasons)}), more than missing_allowed = "
                f"{self.missing_allowed:g}. A truncated answer needs more new tokens; or allow a larger share"
            )


def _rates(preferences: list[float], longer: list[float]) -> dict[str, float | None]:
    plain, controlled = raw(preferences), minimal_length_controlled(preferences, longer)
    return {
        "win_rate": plain.value,
        "win_rate_se": plain.se,
        "win_rate_low": plain.low,
        "win_rate_high": plain.high,
        "minimal_length_controlled": controlled.value if controlled else None,
        "minimal_length_controlled_low": controlled.low if controlled else None,
        "minimal_length_controlled_high": controlled.high if controlled else None,
    }
