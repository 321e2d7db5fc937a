"""Rows made part by part, so that a stage that is killed goes on behind its last whole part.

The one decision: which items make up a part depends on the items and the part's size alone, never on the engine or on
what an earlier attempt left.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import TypeVar

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
    what: str,
    total: int,
) -> None:
    """Write the rows that ``make`` gives for each item, in order; parts that are there already are not made again.

    Args:
        make: from some items to the rows of each of them.
        size: items in a part.
        together: parts that are made in one call, for an engine that likes to be asked for much at once.
        what, total: the name of the progress bar and the number of items.
    """
    numbered = enumerate(batched(items, size))
    with progress(what, total, "rows") as bar:
        for group in batched(numbered, together):
            missing = [(index, part) for index, part in group if not out.has_part(index)]
            made = iter(make(list(chain.from_iterable(part for _, part in missing))) if missing else [])
            for index, part in missing:
                out.write_part(index, list(chain.from_iterable(islice(made, len(part)))))
            bar.update(sum(len(part) for _, part in group))


def waves(rows: int, part: int) -> int:
    """How many parts of so many answers an engine is asked for at once that decodes ``rows`` together: several times as
    many, so that others can take the place of those that end."""
    return max(1, 8 * rows // part)


def batched(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """The items, ``size`` at a time."""
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk
