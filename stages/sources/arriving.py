"""The next prompts of files that keep coming, some for each round.

The one decision: a round's prompts are known by their own words, and not by the files that they came from. So files
that come later, and sort behind those that are there, change no round that was made: the plan alone says who read what,
and there is no list of what was seen to keep or to lose.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from glob import glob
from pathlib import Path
from typing import ClassVar

from stages.artifacts import Prompts, Row
from stages.conversation import conversation_key
from stages.foreseen import Foreseen, Size
from stages.sources.formats import READERS
from stages.sources.rows import converted
from stages.sources.shape import BYTES_A_TOKEN

Seen = tuple[str, int, int]
"""A file's path, its size in bytes, and when it was changed, in nanoseconds."""


class NotYetError(ValueError):
    """There are not prompts enough for this round. There may be when other files have come."""

    WAITS: ClassVar[bool] = True


@dataclass(frozen=True, kw_only=True)
class NextPrompts:
    """The prompts of one round: the next ``size`` of all files, in the order of the files' names and of their rows.

    A prompt that occurred before, whatever its white space, is no new one. Its id is its place among all.

    Args:
        path: a pattern of .jsonl, .parquet and .csv files, such as ``prompts/*.jsonl`` (``**`` for folders below); not
            part of the identity, the sha256 of the round's prompts is.
        size: prompts of each round.
        number: the round, from 1; a recipe says ``${number}``.
        column: which column holds the prompt, as text or as a conversation.
    """

    VERSION: ClassVar[int] = 1

    path: str = field(compare=False)
    size: int
    number: int
    column: str = "prompt"
    sha256: str = field(init=False)

    def __post_init__(self) -> None:
        if self.size < 1 or self.number < 1:
            raise ValueError(f"size and number must be at least 1, not {self.size} and {self.number}")
        object.__setattr__(self, "sha256", _hash(self._rows()))

    def foresee(self) -> Foreseen:
        """The round's prompts."""
        letters = sum(len(turn["content"]) for row in self._rows() for turn in row["prompt"])
        size = float(self.size)
        return Foreseen(size=Size(rows=size, prompts=size, prompt=letters / size / BYTES_A_TOKEN))

    def __call__(self, *, out: Prompts) -> Mapping[str, float]:
        """The round's prompts, and how many are ``left`` for later rounds.

        Raises:
            ValueError: they are others than when this was planned.
        """
        rows = self._rows()
        if _hash(rows) != self.sha256:
            raise ValueError(
                f"{self.path}: round {self.number}'s prompts have changed since it was planned; plan again"
            )
        return {"prompts": out.write(rows), "left": len(_all(_seen(self.path), self.column)) - self.number * self.size}

    def _rows(self) -> tuple[Row, ...]:
        """
        Raises:
            NotYetError: there are not enough.
        """
        found, before = _all(_seen(self.path), self.column), (self.number - 1) * self.size
        if len(found) < before + self.size:
            raise NotYetError(
                f"round {self.number} wants {self.size} prompts after the first {before}, and {self.path} holds "
                f"{len(found)} that differ: it waits for more"
            )
        return found[before : before + self.size]


def _seen(pattern: str) -> tuple[Seen, ...]:
    """The files of a pattern, in the order of their names.

    Raises:
        ValueError: there is none, or one is of a kind that cannot be read.
    """
    files = [Path(name) for name in sorted(glob(pattern, recursive=True)) if Path(name).is_file()]
    if not files:
        raise ValueError(f"{pattern}: there is no such file")
    for file in files:
        if file.suffix not in READERS:
            raise ValueError(f"{file}: expected a file ending in {', '.join(READERS)}")
    return tuple((str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files)


@lru_cache(maxsize=1)
def _all(files: tuple[Seen, ...], column: str) -> tuple[Row, ...]:
    """Every prompt once, with its place as its id; read once for all rounds of a plan."""
    found: dict[str, Row] = {}
    for name, *_ in files:
        for row in converted(READERS[Path(name).suffix](Path(name)), {"prompt": column}, name):
            key = conversation_key(row["prompt"])
            found.setdefault(key, {"prompt_id": str(len(found) + 1), "prompt": row["prompt"]})
    return tuple(found.values())


def _hash(rows: tuple[Row, ...]) -> str:
    return hashlib.sha256(json.dumps(rows, sort_keys=True).encode()).hexdigest()
