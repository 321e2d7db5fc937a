"""Batches of sequences passed through models, by an engine's workers if it has some.

The one decision: which sequences make up a batch follows from them and the budget alone, so what comes of it is the
same whoever passes them.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from stages.engines.engine import Engine, over
from stages.engines.packed import Sequenced, batches
from stages.progress import progress


def each_batch(
    engine: Engine | None,
    sequences: Sequence[Sequenced],
    tokens: int,
    make: Callable[[list[Sequenced]], Any],
    what: str,
) -> Iterator[tuple[list[int], Any]]:
    """The places of each batch's sequences, the longest first, and what ``make`` makes of them.

    Args:
        tokens: of a batch, at most.
        make: is sent to the workers with all that it holds.
        what: the name of the progress bar.
    """
    places = list(batches(sequences, tokens))
    parts = ([sequences[place] for place in batch] for batch in places)
    with progress(what, len(sequences), "answers") as bar:
        for batch, made in zip(places, over(engine)(make, parts), strict=True):
            yield batch, made
            bar.update(len(batch))
