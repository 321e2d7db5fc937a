"""Pairs on which a second scorer agrees (SCIR's consistency, as an offline filter).

The one decision: agreement is asked of answers by (prompt, sample), never by position, and a second opinion that could
not be had is no agreement.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

from stages.artifacts import Pairs, Row, Scores
from stages.foreseen import Foreseen, Size

SIDES = ("chosen", "rejected")


@dataclass(frozen=True, kw_only=True)
class Agreeing:
    """Keep the pairs whose chosen answer the other scorer puts above the rejected one (arXiv 2502.08922; the filter is
    our reading of it).

    Args:
        above: the other scorer's margin must be more than this, and than the measured noise of its scores.
    """

    VERSION: ClassVar[int] = 1

    above: float = 0.0

    def __post_init__(self) -> None:
        if self.above < 0:
            raise ValueError(f"above must be at least 0, not {self.above}")

    def foresee(self, *, pairs: Size, scores: Size) -> Foreseen:
        """At most all of them."""
        return Foreseen(size=pairs)

    def __call__(self, *, pairs: Pairs, scores: Scores, out: Pairs) -> Mapping[str, float]:
        """The agreeing pairs in order, as the first scorer made them.

        Raises:
            ValueError: the scores are not those of the pairs' answers, or no pair is left.
        """
        counts: Counter[str] = Counter()
        opinions = {
            (row["prompt_id"], row["sample"]): (row["score"], row["score_noise"] or 0.0)
            for row in scores.rows(["prompt_id", "sample", "score", "score_noise"])
        }
        kept = out.write(self._agreeing(pairs, opinions, counts))
        told = {name: counts[name] for name in ("disagreeing", "ties", "unscored")}
        if kept == 0:
            raise ValueError(
                f"no pair is left of {sum(counts.values())}: {told}. Likely causes: the second scorer says the "
                "opposite (disagreeing), nothing (unscored), or the same of every answer (ties)"
            )
        judged = counts["agreeing"] + counts["disagreeing"]
        return {"pairs": kept, "agreement": counts["agreeing"] / max(1, judged), **told}

    def _agreeing(
        self, pairs: Pairs, opinions: Mapping[tuple[str, int], tuple[float | None, float]], counts: Counter[str]
    ) -> Iterator[Row]:
        for row in pairs.rows():
            try:
                chosen, rejected = (
                    opinions[row["prompt_id"], row[f"{side}_sample"]] for side in ("chosen", "rejected")
                )
            except KeyError as missing:
                raise ValueError(f"the scores hold no answer {missing}: they must be of the same completions") from None
            verdict = self._verdict(chosen, rejected)
            counts[verdict] += 1
            if verdict == "agreeing":
                yield row

    def _verdict(self, chosen: tuple[float | None, float], rejected: tuple[float | None, float]) -> str:
        (better, noise), (worse, _) = chosen, rejected
        if better is None or worse is None:
            return "unscored"
        if abs(better - worse) <= max(self.above, noise):
            return "ties"
        return "agreeing" if better > worse else "disagreeing"
