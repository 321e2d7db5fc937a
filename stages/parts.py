"""Rows made part by part, so that a stage that is killed goes on behind its last whole part.

The one decision: which items make up a part depends on the items and the part's size alone, never on the engine or on
what an earlier attempt left.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Any, TypeVar

from stages.progress import progress
from stages.table import Row, Table

T = TypeVar("T")


def write_parts(
    out: Table,
    items: Iterable[T],
    make: Callable[[list[T]], Sequence[Sequence[Row]]],
    *,
    size: int,
    together: int = 1,
    spread: Callable[[Callable[[list[T]], Sequence[Sequence[Row]]], Iterable[list[T]]], Iterator[Any]] = map,
    what: str,
    total: int,
) -> None:
    """Write the rows that ``make`` gives for each item, in order; parts that are there already are not made again.

    Args:
        make: from some items to the rows of each of them.
        size: items in a part.
        together: parts that are made in one call, for an engine that likes to be asked for much at once.
        spread: has ``make`` called for each of many lists of items, here or elsewhere, and gives its results in order.
        what, total: the name of the progress bar and the number of items.
    """
    wanted: deque[list[tuple[int, int]]] = deque()

    def lists() -> Iterator[list[T]]:
        for group in batched(enumerate(batched(items, size)), together):
            missing = [(index, part) for index, part in group if not out.has_part(index)]
            bar.skip(sum(len(part) for _, part in group) - sum(len(part) for _, part in missing))
            if missing:
                wanted.append([(index, len(part)) for index, part in missing])
                yield list(chain.from_iterable(part for _, part in missing))

    with progress(what, total, "rows") as bar:
        for made in spread(make, lists()):
            rows = iter(made)
            for index, count in wanted.popleft():
                out.write_part(index, list(chain.from_iterable(islice(rows, count))))
                bar.update(count)


def waves(rows: int, part: int) -> int:
    """How many parts of so many answers an engine is asked for at once that decodes ``rows`` together: several times as
    many, so that others can take the place of those that end."""
    return max(1, 8 * rows // part)


def batched(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """The items, ``size`` at a time."""
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk
