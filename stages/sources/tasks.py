"""Tasks with a checkable answer from a local file.

The one decision: a task whose checker or expected answer makes no sense is refused here, so that a wrong score is
never the file's fault.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from stages.artifacts import Row, Tasks
from stages.checkers import CHECKERS, checker
from stages.foreseen import Foreseen
from stages.sources.local import known, read
from stages.sources.rows import Numbered, check_rows, converted, selected, written
from stages.sources.shape import of_file

OWN = ("expected", "checker", "kind")
"""Columns of tasks that no other prompts have."""


@dataclass(frozen=True, kw_only=True)
class LocalTasks:
    """Tasks of a local file. See LocalPrompts for the other fields.

    GSM8K's files are read with ``columns: {prompt: question, expected: answer}`` and ``checker: number``.

    Args:
        columns: which of the file's columns holds ``prompt``, ``expected``, and ``checker``, ``kind`` and ``prompt_id``
            if there are such. Without kinds a task's kind is its checker.
        checker: the one checker of all tasks, for a file that does not name them.
    """

    VERSION: ClassVar[int] = 1

    path: str = field(compare=False)
    columns: dict[str, str]
    checker: str | None = None
    skip: int = 0
    limit: int | None = None
    shuffle: int | None = None
    sha256: str = field(init=False)

    def __post_init__(self) -> None:
        check_rows("prompts", self._prompt_columns(), self.skip, self.limit)
        if "expected" not in self.columns:
            raise ValueError("columns: say which column holds the 'expected' answer, such as {expected: answer}")
        if (self.checker is None) == ("checker" not in self.columns):
            raise ValueError("say either a column with the checkers or one checker for all tasks")
        if self.checker is not None and self.checker not in CHECKERS:
            raise ValueError(f"there is no checker {self.checker!r}; there is {', '.join(CHECKERS)}")
        object.__setattr__(self, "sha256", known(self.path))

    def foresee(self) -> Foreseen:
        """The file's rows."""
        return of_file(self.path, self.skip, self.limit, answers=0)

    def __call__(self, *, out: Tasks) -> Mapping[str, float]:
        """Every selected row."""
        rows = selected(read(self.path, self.sha256), self.skip, self.limit, self.shuffle)
        return {"tasks": out.write(self._tasks(rows))}

    def _prompt_columns(self) -> dict[str, str]:
        return {ours: theirs for ours, theirs in self.columns.items() if ours not in OWN}

    def _tasks(self, rows: Sequence[Numbered]) -> Iterator[Row]:
        own = {ours: theirs for ours, theirs in self.columns.items() if ours in OWN}
        prompts = converted(rows, self._prompt_columns(), self.path)
        for (number, row), prompt in zip(rows, prompts, strict=True):
            where = f"{self.path}, row {number}"
            for column in own.values():
                if row.get(column) is None:
                    raise ValueError(f"{where}: no {column!r}; there is {', '.join(sorted(map(str, row)))}")
            told = {ours: written(str(row[theirs]), where) for ours, theirs in own.items()}
            name = self.checker or told["checker"]
            try:
                checker(name, told["expected"])
            except ValueError as wrong:
                raise ValueError(f"{where}: {wrong}") from wrong
            yield {**prompt, "kind": name, **told, "checker": name}
