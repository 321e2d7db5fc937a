"""A second question after each first answer, as MT-Bench asks it.

The one decision: the model reads its own first answer as it was, also where it was cut off, because that is what it
would have said.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from stages.artifacts import Completions, Prompts
from stages.foreseen import Foreseen, Size


@dataclass(frozen=True, kw_only=True)
class FollowUp:
    """Conversations of the first question, the model's answer, and the next question."""

    VERSION: ClassVar[int] = 1

    def foresee(self, *, answers: Size, questions: Size) -> Foreseen:
        """The first question, its answer and the next question."""
        return Foreseen(size=replace(questions, prompt=answers.prompt + answers.answer + questions.prompt))

    def __call__(self, *, answers: Completions, questions: Prompts, out: Prompts) -> Mapping[str, float]:
        """One row an answer, under its prompt's id.

        Args:
            answers: to the first questions, one each.
            questions: the next ones, under the same ids.

        Raises:
            ValueError: an answer has no next question, or a question no answer or two.
        """
        following = {row["prompt_id"]: row["prompt"] for row in questions.rows(["prompt_id", "prompt"])}
        rows = list(answers.rows(["prompt_id", "prompt", "completion"]))
        if sorted(row["prompt_id"] for row in rows) != sorted(following):
            raise ValueError(f"{len(rows)} first answers and {len(following)} next questions do not belong together")
        count = out.write(
            {
                "prompt_id": row["prompt_id"],
                "prompt": [*row["prompt"], *row["completion"], *following[row["prompt_id"]]],
            }
            for row in rows
        )
        return {"prompts": count}
