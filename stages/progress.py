"""How far long work is, told to whoever watches.

The one decision: a stage knows nothing of screens. It tells a small file how much of what it has done, now and then,
and whoever runs the step says which file: ``SELFLOOP_PROGRESS`` in the environment. Where nobody does, nothing is told.
"""

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

EVERY = 0.5
"""Seconds between two tellings, however fast rows are made."""


class Bar:
    """So much of so much has been done.

    Args:
        what: the work, such as ``decoding``.
        total, unit: how many of what there are, in plural, such as ``answers``.
    """

    def __init__(self, what: str, total: int, unit: str) -> None:
        self.what, self.total, self.unit = what, total, unit
        self.done = self.skipped = self.tokens = 0
        self.begun = time.monotonic()

    def update(self, count: int = 1) -> None:
        """So many more are done."""
        self.done += count
        _tell()

    def skip(self, count: int) -> None:
        """So many more were done already, by an attempt before this one: they say nothing of how fast this one is."""
        self.done += count
        self.skipped += count
        _tell()

    def told(self) -> dict[str, str | int | float]:
        """It as plain JSON."""
        own = {name: value for name, value in vars(self).items() if name != "begun"}
        return {**own, "seconds": round(time.monotonic() - self.begun, 2)}


_open: list[Bar] = []
_last = 0.0


@contextmanager
def progress(what: str, total: int, unit: str) -> Iterator[Bar]:
    """A bar to ``update(n)``. One that is opened within another is a part of its work."""
    bar = Bar(what, total, unit)
    _open.append(bar)
    _tell(now=True)
    try:
        yield bar
    finally:
        _open.remove(bar)
        _tell(now=True)


def count_tokens(count: int) -> None:
    """So many tokens more have been passed through a model or drawn from one, for the innermost bar."""
    if _open:
        _open[-1].tokens += count
        _tell()


def _tell(now: bool = False) -> None:
    """Write down all bars, the outermost first, unless it was done a moment ago."""
    global _last
    if not now and time.monotonic() < _last + EVERY:
        return
    _last, place = time.monotonic(), os.environ.get("SELFLOOP_PROGRESS")
    if place:
        with suppress(OSError):  # a full disk is for the work to meet
            draft = f"{place}.draft"
            with open(draft, "w", encoding="utf-8") as file:
                json.dump([bar.told() for bar in _open], file)
            os.replace(draft, place)
