"""Prompts, pairs and answered prompts from a local jsonl, parquet or csv file.

The one decision: a file is known by what is in it (sha256), never by where it lies.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from stages.artifacts import Pairs, Prompts, Row
from stages.files import file_hash
from stages.foreseen import Foreseen
from stages.sources.formats import READERS
from stages.sources.rows import Content, Numbered, check_rows, converted, selected
from stages.sources.shape import of_file


@dataclass(frozen=True, kw_only=True)
class LocalPrompts:
    """Prompts of a local file.

    Args:
        path: a .jsonl, .parquet or .csv file; not part of the identity, its sha256 is.
        columns: which of its columns holds ``prompt`` (text or a conversation), and ``prompt_id`` if there is one.
        skip, limit: leave out the first rows; take at most so many.
        shuffle: a seed to shuffle with before that.
    """

    VERSION: ClassVar[int] = 1

    path: str = field(compare=False)
    columns: dict[str, str] = field(default_factory=lambda: {"prompt": "prompt"})
    skip: int = 0
    limit: int | None = None
    shuffle: int | None = None
    sha256: str = field(init=False)

    def __post_init__(self) -> None:
        check_rows("prompts", self.columns, self.skip, self.limit)
        object.__setattr__(self, "sha256", known(self.path))

    def foresee(self) -> Foreseen:
        """The file's rows."""
        return of_file(self.path, self.skip, self.limit, answers=0)

    def __call__(self, *, out: Prompts) -> Mapping[str, float]:
        """Every selected row."""
        rows = selected(read(self.path, self.sha256), self.skip, self.limit, self.shuffle)
        return {"prompts": out.write(converted(rows, self.columns, self.path))}


@dataclass(frozen=True, kw_only=True)
class LocalPairs:
    """Preference pairs of a local file. See LocalPrompts; the columns are ``prompt``, ``chosen`` and ``rejected``."""

    VERSION: ClassVar[int] = 2

    path: str = field(compare=False)
    columns: dict[str, str] = field(
        default_factory=lambda: {"prompt": "prompt", "chosen": "chosen", "rejected": "rejected"}
    )
    skip: int = 0
    limit: int | None = None
    shuffle: int | None = None
    sha256: str = field(init=False)

    def __post_init__(self) -> None:
        check_rows("pairs", self.columns, self.skip, self.limit)
        object.__setattr__(self, "sha256", known(self.path))

    def foresee(self) -> Foreseen:
        """The file's rows."""
        return of_file(self.path, self.skip, self.limit, answers=2)

    def __call__(self, *, out: Pairs) -> Mapping[str, float]:
        """Every selected row."""
        rows = selected(read(self.path, self.sha256), self.skip, self.limit, self.shuffle)
        return {"pairs": out.write(converted(rows, self.columns, self.path))}


@dataclass(frozen=True, kw_only=True)
class Answered:
    """Prompts with one answer each, of a local file. See LocalPrompts for the fields; the columns are ``prompt``,
    ``completion`` and, if there is one, ``prompt_id``."""

    CONTENT: ClassVar[Content]

    path: str = field(compare=False)
    columns: dict[str, str] = field(default_factory=lambda: {"prompt": "prompt", "completion": "completion"})
    limit: int | None = None
    sha256: str = field(init=False)

    def __post_init__(self) -> None:
        check_rows(self.CONTENT, self.columns, 0, self.limit)
        object.__setattr__(self, "sha256", known(self.path))

    def foresee(self) -> Foreseen:
        """The file's rows."""
        return of_file(self.path, 0, self.limit, answers=1)

    def rows(self) -> Iterator[Row]:
        """Every selected row, in our columns."""
        return converted(selected(read(self.path, self.sha256), 0, self.limit, None), self.columns, self.path)


def known(path: str) -> str:
    """The file's sha256.

    Raises:
        ValueError: it is not there, or not of a kind that can be read.
    """
    if Path(path).suffix not in READERS:
        raise ValueError(f"{path}: expected a file ending in {', '.join(READERS)}")
    return file_hash(path)


def read(path: str, sha256: str) -> list[Numbered]:
    """All rows of a file, numbered from 1; a jsonl's rows are its lines.

    Raises:
        ValueError: it cannot be read as what its name says, or was written to since it was planned.
    """
    rows = READERS[Path(path).suffix](Path(path))
    if file_hash(path) != sha256:
        raise ValueError(f"{path} has changed since it was planned; plan again")
    return rows
