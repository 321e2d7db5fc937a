"""The next prompts of a pool: disjoint chunks, one a round.

The one decision: a chunk is counted in prompts that are left once the known ones are taken out, so a round's prompts
follow from the pool and the round's number alone.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

from stages.artifacts import Prompts, Row, Table
from stages.conversation import conversation_key
from stages.foreseen import Foreseen, Size


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """The prompts of one round (SPA, arXiv 2406.04412: each round has its own).

    Args:
        sizes: prompts of each round, or of every round.
        number: the round, from 1; a recipe says ``${number}``.
    """

    VERSION: ClassVar[int] = 1

    sizes: int | list[int]
    number: int

    def __post_init__(self) -> None:
        sizes = self.sizes if isinstance(self.sizes, list) else [self.sizes]
        if not sizes or min(sizes) < 1 or self.number < 1:
            raise ValueError(f"sizes and number must be at least 1, not {self.sizes} and {self.number}")
        if isinstance(self.sizes, list) and self.number > len(self.sizes):
            raise ValueError(f"round {self.number} has no chunk: sizes names {len(self.sizes)}")

    def foresee(self, *, prompts: Size, known: Size) -> Foreseen:
        """The round's prompts."""
        _, size = self._place()
        return Foreseen(size=Size(rows=size, prompts=size, prompt=prompts.prompt))

    def __call__(self, *, prompts: Prompts, known: Table, out: Prompts) -> Mapping[str, float]:
        """The chunk, in the pool's order, without prompts that ``known`` has (seed pairs, seed instructions).

        Raises:
            ValueError: the pool does not hold so many.
        """
        before, size = self._place()
        left = list(self._left(prompts, known))
        if len(left) < before + size:
            raise ValueError(
                f"round {self.number} wants {size} prompts after the first {before}, but the pool holds {len(left)} "
                "that are not known: give more prompts, smaller chunks or fewer rounds"
            )
        return {"prompts": out.write(left[before : before + size]), "left": len(left) - before - size}

    def _place(self) -> tuple[int, int]:
        if isinstance(self.sizes, int):
            return (self.number - 1) * self.sizes, self.sizes
        return sum(self.sizes[: self.number - 1]), self.sizes[self.number - 1]

    def _left(self, prompts: Prompts, known: Table) -> Iterator[Row]:
        met = {conversation_key(row["prompt"]) for row in known.rows(["prompt"])}
        for row in prompts.rows(list(Prompts.COLUMNS)):
            key = conversation_key(row["prompt"])
            if key not in met:
                met.add(key)
                yield row
