"""Answers that a model elsewhere has given, from a local file, so that ours can be compared with them.

The one decision: they are whole answers of a model that is not known, so a scorer labels them from outside, and nothing
that needs token ids can read them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from stages.artifacts import Completions
from stages.sources.local import Answered


@dataclass(frozen=True, kw_only=True)
class LocalAnswers(Answered):
    """One answer a prompt, of a local file. See Answered for the fields."""

    CONTENT = "answers"
    VERSION: ClassVar[int] = 1

    def __call__(self, *, out: Completions) -> Mapping[str, float]:
        """Every selected row, each as an answer that its model has ended."""
        return {"answers": out.write({**row, "sample": 0, "finish_reason": "stop"} for row in self.rows())}
