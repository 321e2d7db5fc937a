"""One turn of the questions of a benchmark, where a question is a list of turns as in MT-Bench's question.jsonl.

The one decision: a turn is a node of its own, because the second cannot be asked before the first was answered.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from stages.artifacts import Prompts, Row
from stages.foreseen import Foreseen
from stages.sources.local import known, read
from stages.sources.rows import Numbered, converted, selected
from stages.sources.shape import of_file


@dataclass(frozen=True, kw_only=True)
class LocalQuestions:
    """One turn of each question of a local file. See LocalPrompts for the other fields.

    Args:
        turn: which, from 1.
        turns, question_id: the columns with the list of turns, texts all, and with the question's id.
    """

    VERSION: ClassVar[int] = 1

    path: str = field(compare=False)
    turn: int
    turns: str = "turns"
    question_id: str = "question_id"
    limit: int | None = None
    sha256: str = field(init=False)

    def __post_init__(self) -> None:
        if self.turn < 1 or (self.limit is not None and self.limit < 1):
            raise ValueError(f"turn and limit must be at least 1, not {self.turn} and {self.limit}")
        object.__setattr__(self, "sha256", known(self.path))

    def foresee(self) -> Foreseen:
        """The file's rows, at most."""
        return of_file(self.path, 0, self.limit, answers=0)

    def __call__(self, *, out: Prompts) -> Mapping[str, float]:
        """Every question that has the turn.

        Raises:
            ValueError: a row has no list of turns, or none has this one.
        """
        rows = [*self._asked(selected(read(self.path, self.sha256), 0, self.limit, None))]
        columns = {"prompt": "prompt", "prompt_id": self.question_id}
        return {"prompts": out.write(converted(rows, columns, self.path))}

    def _asked(self, rows: Sequence[Numbered]) -> Iterator[tuple[int, Row]]:
        for number, row in rows:
            turns = row.get(self.turns)
            if not isinstance(turns, list):
                raise ValueError(
                    f"{self.path}, row {number}, {self.turns}: expected a list of turns, got {turns!r:.60}"
                )
            if len(turns) >= self.turn:
                yield number, {**row, "prompt": turns[self.turn - 1]}
