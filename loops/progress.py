"""How far a running step is, as it tells itself.

The one decision: the step's process writes a small file into its draft, which is renamed into place whole, so whoever
sees the store can follow it: the console, ``status`` in another terminal, another machine. What is in it is a list of
bars, the outermost first; ``stages`` writes it and knows no more than the name of the file.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from glob import glob
from pathlib import Path

from loops.manifest import SCRATCH

TOLD = "SELFLOOP_PROGRESS"
"""The environment variable that says where the file is to be."""
FILE = "progress.json"


@dataclass(frozen=True, kw_only=True)
class Bar:
    """``done`` of ``total`` were done ``seconds`` after it was opened. ``skipped`` of them were there before, and
    ``tokens`` went through a model."""

    what: str
    unit: str
    done: int
    total: int
    skipped: int
    tokens: int
    seconds: float

    @property
    def left(self) -> float | None:
        """Seconds that the rest will take at this rate; None while there is no rate."""
        made = self.done - self.skipped
        return self.seconds * max(0, self.total - self.done) / made if made > 0 else None

    @property
    def amount(self) -> str:
        """How much is done, in words."""
        return f"{self.done}/{self.total} {self.unit}"

    @property
    def rates(self) -> str:
        """How fast it goes, in words: rows a second, and tokens where they are counted."""
        counts = ((self.done - self.skipped, self.unit), (self.tokens, "tokens"))
        told = [f"{_number(count / self.seconds)} {unit}/s" for count, unit in counts if count and self.seconds]
        return ", ".join(told)

    @property
    def times(self) -> str:
        """How long it has taken and how long it will, in words."""
        return f"{_clock(self.seconds)} so far" + ("" if self.left is None else f", {_clock(self.left)} to go")


@contextmanager
def telling(draft: Path) -> Iterator[None]:
    """Have what runs in here tell how far it is, in this draft."""
    file = draft.resolve() / SCRATCH / FILE
    file.parent.mkdir(exist_ok=True)
    file.unlink(missing_ok=True)  # of an attempt before
    os.environ[TOLD] = str(file)
    try:
        yield
    finally:
        del os.environ[TOLD]


def told(place: Path) -> list[Bar]:
    """The bars of the step that is made in this place, ``drafts/<key>``, the outermost first; none if it tells none."""
    for file in glob(f"*/{SCRATCH}/{FILE}", root_dir=place):  # Path.glob raises if a draft vanishes meanwhile
        try:
            return [Bar(**bar) for bar in json.loads((place / file).read_text(encoding="utf-8"))]
        except (OSError, ValueError, TypeError):  # it has just been committed, or is of another version
            continue
    return []


def _number(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}"


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes:02d}:{seconds:02d}"
