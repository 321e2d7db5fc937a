"""How far a scorer's labels agree with people's, on held-out pairs.

The one decision: a tie and a score that could not be had are neither agreement nor disagreement. They are counted
apart, because a judge that says little and one that is wrong need different cures.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from stages.artifacts import Report, Scores
from stages.evaluate.interval import standard_error, with_interval
from stages.evaluate.two_answers import preference, two_answers

VERDICTS = {None: "unscored", 0.5: "tied", 1.0: "agreeing", 0.0: "disagreeing"}


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Share of the decided pairs in which the chosen answer has the higher score, with its standard error √(p(1−p)/n).

    Also the shares of pairs with equal scores (``tied``) and without a score for both answers (``unscored``), and
    ``saturation``: the share of the commonest score among all that were given.
    """

    VERSION: ClassVar[int] = 1

    def __call__(self, *, scores: Scores, out: Report) -> Mapping[str, float]:
        """Of scores of BothAnswers. What nobody could tell, such as the agreement of ties alone, is null in the report.

        Raises:
            ValueError: the rows are not two answers a pair.
        """
        verdicts, given = Counter[str](), Counter[float]()
        for both in two_answers(scores, [], "BothAnswers"):
            verdicts[VERDICTS[preference(*both)]] += 1
            given.update(row["score"] for row in both if row["score"] is not None)
        pairs, decided = verdicts.total(), verdicts["agreeing"] + verdicts["disagreeing"]
        share = verdicts["agreeing"] / decided if decided else None
        report = {
            **({"agreement": None} if share is None else with_interval("agreement", share, decided)),
            "agreement_se": None if share is None else standard_error(share, decided),
            "tied": verdicts["tied"] / max(1, pairs),
            "unscored": verdicts["unscored"] / max(1, pairs),
            "saturation": max(given.values()) / given.total() if given else None,
            "pairs": float(pairs),
        }
        out.write(report)
        return {name: value for name, value in report.items() if value is not None}
