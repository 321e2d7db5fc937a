"""How often one model's answers are preferred to another's, with what it is worth.

The one decision: every rate has its 95 % interval, and the one at equal length bears "minimal" in its name, because it
is not AlpacaEval's.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import ClassVar

from stages.artifacts import Report, Scores
from stages.evaluate.judged import check_allowed, judged
from stages.evaluate.length_control import minimal_length_controlled, raw


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
        check_allowed(self.missing_allowed)

    def __call__(self, *, scores: Scores, out: Report) -> Mapping[str, float]:
        """Of scores of SideBySide. The rates are over the prompts that were judged; ``missing`` is the others' share.

        What cannot be told, the length-controlled rate where lengths never differ, is null in the report.

        Raises:
            ValueError: the rows are not two answers a prompt, or too many judgements are missing.
        """
        every = judged(scores, self.missing_allowed)
        known = [(each, each.preference) for each in every if each.preference is not None]
        preferences = [preference for _, preference in known]
        longer = [float(each.candidate_characters - each.baseline_characters) for each, _ in known]
        report = {
            **_rates(preferences, longer),
            "wins": float(preferences.count(1.0)),
            "ties": float(preferences.count(0.5)),
            "losses": float(preferences.count(0.0)),
            "missing": (len(every) - len(known)) / len(every),
            "characters": fmean(each.candidate_characters for each, _ in known),
            "baseline_characters": fmean(each.baseline_characters for each, _ in known),
        }
        out.write(report)
        return {name: value for name, value in report.items() if value is not None}


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
