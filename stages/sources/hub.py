"""Prompts and pairs from the Hugging Face hub, by pinned revision.

The one decision: a revision has no default and must be a commit, so that a recipe means the same next year.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from stages.artifacts import Pairs, Prompts
from stages.foreseen import Foreseen
from stages.sources.revision import check_pinned
from stages.sources.rows import check_rows, converted, selected
from stages.sources.shape import of_table


@dataclass(frozen=True, kw_only=True)
class HubPrompts:
    """Prompts of a data set of the hub. See LocalPrompts for the other fields."""

    VERSION: ClassVar[int] = 1

    repo: str
    revision: str
    split: str
    subset: str | None = None
    columns: dict[str, str] = field(default_factory=lambda: {"prompt": "prompt"})
    skip: int = 0
    limit: int | None = None
    shuffle: int | None = None

    def __post_init__(self) -> None:
        check_pinned(self.repo, self.revision)
        check_rows("prompts", self.columns, self.skip, self.limit)

    def foresee(self) -> Foreseen:
        """As many rows as are taken."""
        return of_table(self.limit)

    def __call__(self, *, out: Prompts) -> Mapping[str, float]:
        """Every selected row."""
        rows = selected(enumerate(_dataset(self), start=1), self.skip, self.limit, self.shuffle)
        return {"prompts": out.write(converted(rows, self.columns, f"{self.repo} {self.split}"))}


@dataclass(frozen=True, kw_only=True)
class HubPairs:
    """Preference pairs of a data set of the hub. See LocalPairs for the other fields."""

    VERSION: ClassVar[int] = 2

    repo: str
    revision: str
    split: str
    subset: str | None = None
    columns: dict[str, str] = field(
        default_factory=lambda: {"prompt": "prompt", "chosen": "chosen", "rejected": "rejected"}
    )
    skip: int = 0
    limit: int | None = None
    shuffle: int | None = None

    def __post_init__(self) -> None:
        check_pinned(self.repo, self.revision)
        check_rows("pairs", self.columns, self.skip, self.limit)

    def foresee(self) -> Foreseen:
        """As many rows as are taken."""
        return of_table(self.limit)

    def __call__(self, *, out: Pairs) -> Mapping[str, float]:
        """Every selected row."""
        rows = selected(enumerate(_dataset(self), start=1), self.skip, self.limit, self.shuffle)
        return {"pairs": out.write(converted(rows, self.columns, f"{self.repo} {self.split}"))}


def _dataset(source: HubPrompts | HubPairs) -> Any:
    from datasets import load_dataset

    return load_dataset(source.repo, source.subset, split=source.split, revision=source.revision)
