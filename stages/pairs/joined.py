"""Pairs of two sources in one table, the second at most a share of the whole."""

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import chain
from typing import ClassVar

from stages.artifacts import Pairs
from stages.foreseen import Foreseen, Size, at_most
from stages.seeds import derive


@dataclass(frozen=True, kw_only=True)
class Joined:
    """All of ``pairs``, then as many of ``more`` as the share allows, drawn without replacement.

    Args:
        most: the largest share of ``more`` in the result, in (0, 1). Of judge pairs more than 0.15 is said to make a
            judge collapse to one score (NeMo-Aligner's documentation).
        seed: of the draw.
    """

    VERSION: ClassVar[int] = 1

    most: float
    seed: int

    def __post_init__(self) -> None:
        if not 0 < self.most < 1:
            raise ValueError(f"most is a share of the result, in (0, 1), not {self.most}")

    def foresee(self, *, pairs: Size, more: Size) -> Foreseen:
        """All pairs, and at most the share of the others."""
        rows = pairs.rows + at_most(pairs.rows * self.most / (1 - self.most), more.rows)
        return Foreseen(size=replace(pairs, rows=rows, prompts=rows))

    def __call__(self, *, pairs: Pairs, more: Pairs, out: Pairs) -> Mapping[str, float]:
        """Each in the order of its source.

        Raises:
            ValueError: there is no pair.
        """
        share = Fraction(str(self.most))
        wanted = min(len(more), int(len(pairs) * share / (1 - share)))
        kept = sorted(random.Random(derive("joined", self.seed)).sample(range(len(more)), wanted))
        if not len(pairs):
            raise ValueError(
                f"no pair is left: the first source is empty, and of the other {len(more)} a share of none is 0"
            )
        count = out.write(chain(pairs.rows(), more.rows_at(kept)))
        return {"pairs": count, "more": wanted, "left_out": len(more) - wanted}
