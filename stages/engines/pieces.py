"""Work that is handed out in pieces: how large they are, and what nobody does yet.

The one decision: pieces begin large and become smaller, so that few are needed and all who work end together (guided
self-scheduling, Polychronopoulos and Kuck 1987).
"""

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from math import ceil
from typing import Any

from stages.parts import batched

Item = tuple[int, Any]
"""What is to be done, or what has come of it, after its number."""
Piece = Sequence[Item]
LOSSES = 3
"""Workers that an item may cost, or that may fail to begin one after the other. Then it is no accident."""


def shrinking(items: Piece, workers: int, together: int) -> Iterator[Piece]:
    """Half of what would be each worker's share of the rest, but no less than it does ``together``; at last all."""
    while len(items) > workers * together:
        size = max(together, ceil(len(items) / workers / 2))
        yield items[:size]
        items = items[size:]
    yield from batched(items, max(1, ceil(len(items) / workers)))


class Left:
    """What nobody does yet."""

    def __init__(self, pieces: Iterable[Piece]) -> None:
        self._pieces, self._next, self._lost = iter(pieces), deque[Piece](), Counter[int]()

    @property
    def more(self) -> bool:
        """Whether there is anything."""
        if not self._next:
            self._next.extend(piece for piece in [next(self._pieces, None)] if piece)
        return bool(self._next)

    def take(self) -> Piece:
        """The next piece."""
        return self._next.popleft()

    def put_back(self, undone: dict[int, Any]) -> None:
        """
        Raises:
            RuntimeError: it has cost too many workers.
        """
        self._lost.update(undone.keys())
        if max((self._lost[number] for number in undone), default=0) > LOSSES:
            raise RuntimeError(f"the same work has ended {LOSSES + 1} workers one after the other (out of memory?)")
        if undone:
            self._next.appendleft(list(undone.items()))
