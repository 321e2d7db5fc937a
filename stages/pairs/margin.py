"""Which pairs are worth training on, by their margin.

The one decision: what a small margin means depends on who gave the label. From outside it is the pair that teaches most
(arXiv 2406.17312); from the model itself it is the label that is most likely wrong. So the default follows the source.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import ClassVar

from stages.artifacts import Pairs
from stages.foreseen import Foreseen, Size

BY_SOURCE = {"self": (0.1, 1.0), "outside": (0.0, 0.5)}
"""Without a window: of self-labels the least certain tenth is dropped, of labels from outside the smaller half kept."""


@dataclass(frozen=True, kw_only=True)
class Margin:
    """Keep a window of the margins' quantiles.

    Args:
        window: (from, to) in [0, 1]: (0.1, 1) drops the smallest tenth, (0, 0.3) keeps the smallest three tenths. Null
            follows the label's source: self-labelled pairs (0.1, 1), labels from outside (0, 0.5), which is a number of
            ours.
    """

    VERSION: ClassVar[int] = 1

    window: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if self.window is not None and not 0 <= self.window[0] < self.window[1] <= 1:
            raise ValueError(f"window must be (from, to) with 0 <= from < to <= 1, not {self.window}")

    def foresee(self, *, pairs: Size) -> Foreseen:
        """At most all of them."""
        return Foreseen(size=pairs)

    def __call__(self, *, pairs: Pairs, out: Pairs) -> Mapping[str, float]:
        """The kept pairs in order.

        Raises:
            ValueError: a pair has no margin, or without a window nobody knows where the labels come from.
        """
        margins = [row["margin"] for row in pairs.rows(["margin"])]
        if not margins:
            raise ValueError("no pair is left: there was none to begin with")
        if None in margins:
            raise ValueError(f"{margins.count(None)} of {len(margins)} pairs have no margin (offline pairs never have)")
        low, high = self.window or self._by_source({row["label_source"] for row in pairs.rows(["label_source"])})
        order = sorted(range(len(margins)), key=lambda place: (margins[place], place))
        kept = sorted(order[round(low * len(order)) : round(high * len(order))])
        if not kept:
            raise ValueError(f"no pair is left of {len(margins)} between the quantiles {low} and {high}")
        out.write(pairs.rows_at(kept))
        return {
            "pairs": len(kept),
            "dropped": len(margins) - len(kept),
            "from": low,
            "to": high,
            "margin": fmean(margins[place] for place in kept),
        }

    def _by_source(self, sources: set[str | None]) -> tuple[float, float]:
        if len(sources) != 1 or None in sources:
            raise ValueError(f"labels come from {sorted(map(str, sources))}: say which window of margins is to be kept")
        return BY_SOURCE[str(sources.pop())]
