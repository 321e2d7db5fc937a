"""Answers checked by rule: right is 1, wrong is 0.

The one decision: the rule comes from the task and never travels through the model, so the answer is looked up by the
prompt's id and compared with a task that asked for the very same thing.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import ClassVar

from stages.artifacts import Completions, Message, Row, Scores, Tasks
from stages.checkers import Check, checker
from stages.foreseen import Foreseen, Size


@dataclass(frozen=True, kw_only=True)
class Verifiable:
    """score = 1 if the task's checker holds for the answer, else 0, in points.

    A checker's verdict is a real score and no failure to find one. An answer that was cut off has none.
    """

    VERSION: ClassVar[int] = 1

    def foresee(self, *, completions: Size, tasks: Size) -> Foreseen:
        """The same rows."""
        return Foreseen(size=completions)

    def __call__(self, *, completions: Completions, tasks: Tasks, out: Scores) -> Mapping[str, float]:
        """Scores in the order of the completions. ``right`` is the share of the scored answers, ``divided`` that of the
        prompts with a right answer and a wrong one, which are those that a pair can be made of.

        Raises:
            ValueError: a prompt is none of the tasks, or was asked otherwise.
        """
        check_of = _checks(tasks)
        count = out.write({**row, **_verdict(row, check_of)} for row in completions.rows(list(Completions.COLUMNS)))
        scored, right, prompts, divided = 0, 0, 0, 0
        for _, rows in groupby(out.rows(["prompt_id", "score"]), key=lambda row: row["prompt_id"]):
            own = [row["score"] for row in rows if row["score"] is not None]
            scored, right, prompts = scored + len(own), right + own.count(1.0), prompts + 1
            divided += 0 < own.count(1.0) < len(own)
        return {
            "scored": scored,
            "null": count - scored,
            "right": right / max(1, scored),
            "divided": divided / max(1, prompts),
        }


def _checks(tasks: Tasks) -> Callable[[Row], Check]:
    """From a row of answers to its check."""
    known: dict[str, tuple[list[Message], Check]] = {}
    for task in tasks.rows():
        known[task["prompt_id"]] = task["prompt"], checker(task["checker"], task["expected"])

    def found(row: Row) -> Check:
        prompt, check = known.get(row["prompt_id"], (None, None))
        if check is None or prompt != row["prompt"]:
            raise ValueError(f"prompt {row['prompt_id']!r} is none of these tasks; were they answered to other ones?")
        return check

    return found


def _verdict(row: Row, check_of: Callable[[Row], Check]) -> Row:
    holds = check_of(row)
    if row["finish_reason"] != "stop":
        return {"null_reason": "truncated", "label_source": "outside"}
    right = holds(row["completion"][0]["content"])
    return {"score": float(right), "score_unit": "points", "label_source": "outside"}
