"""Answers that a model elsewhere has given, from a local file, so that ours can be compared with them.

The one decision: they are whole answers of a model that is not known, so a scorer labels them from outside, and nothing
that needs token ids can read them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from stages.artifacts import Completions
from stages.sources.local import known, read
from stages.sources.rows import check_rows, converted, selected


@dataclass(frozen=True, kw_only=True)
class LocalAnswers:
    """One answer a prompt, of a local file. See LocalPrompts for the fields; the columns are ``prompt``,
    ``completion`` and, if there is one, ``prompt_id``."""

    VERSION: ClassVar[int] = 1

    path: str = field(compare=False)
    columns: dict[str, str] = field(default_factory=lambda: {"prompt": "prompt", "completion": "completion"})
    limit: int | None = None
    sha256: str = field(init=False)

    def __post_init__(self) -> None:
        check_rows("demonstrations", self.columns, 0, self.limit)
        object.__setattr__(self, "sha256", known(self.path))

    def __call__(self, *, out: Completions) -> Mapping[str, float]:
        """Every selected row, each as an answer that its model has ended."""
        rows = converted(selected(read(self.path, self.sha256), 0, self.limit, None), self.columns, self.path)
        return {"answers": out.write({**row, "sample": 0, "finish_reason": "stop"} for row in rows)}
