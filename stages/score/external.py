"""A reward model from outside: a sequence classifier with one output.

The one decision: the classifier reads the conversation through its own chat template, so the text is tokenised anew,
and what is too long for it has no score instead of a cut one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from stages.artifacts import Completions, Message, RewardModel, Row, Scores
from stages.engines.engine import Engine, over, there
from stages.engines.memory import passing
from stages.engines.quote import without_control
from stages.foreseen import Foreseen, Size, passed
from stages.parts import write_parts
from stages.score.summary import summary

PART = 64


@dataclass(frozen=True, kw_only=True)
class External:
    """score = the classifier's output for the conversation with the answer.

    Args:
        max_tokens: conversation and answer together; a longer row gets no score.
        floor: the least share of prompts with a scored answer.
        batch_tokens: speed only.
        engine: whose workers score, if it has some; not part of the identity.
    """

    VERSION: ClassVar[int] = 1
    RESUMES: ClassVar[bool] = True

    max_tokens: int = 4096
    floor: float = 0.2
    batch_tokens: int = field(default=4096, compare=False)
    engine: Engine | None = field(default=None, compare=False)

    def foresee(self, *, completions: Size, reward: Size) -> Foreseen:
        """Each answer read once."""
        return there(
            self.engine,
            passed(completions, reward, answers=completions.rows, memory=passing(reward, self.batch_tokens)),
        )

    def __call__(self, *, completions: Completions, reward: RewardModel, out: Scores) -> Mapping[str, float]:
        """Scores in the order of the completions. Cut-off answers have none."""

        def scored(rows: list[Row]) -> list[list[Row]]:
            return [[row] for row in self._scored(rows, reward)]

        spread = over(self.engine)
        write_parts(out, completions.rows(), scored, size=PART, spread=spread, what="scoring", total=len(completions))
        return summary(out, "reward", self.floor)

    def _scored(self, rows: list[Row], reward_model: RewardModel) -> list[Row]:
        from stages.engines.classifiers import batches, load_classifier, rewards

        model, tokenizer = load_classifier(reward_model)
        whole = {
            place: tokenizer.apply_chat_template(_conversation(row, tokenizer), return_dict=True)["input_ids"]
            for place, row in enumerate(rows)
            if row["finish_reason"] == "stop"
        }
        found: dict[int, Row] = {place: {"null_reason": "overlong"} for place in whole}
        fits = [place for place, tokens in whole.items() if len(tokens) <= self.max_tokens]
        for batch in batches([len(whole[place]) for place in fits], self.batch_tokens):
            places = [fits[index] for index in batch]
            for place, reward in zip(places, rewards(model, [whole[place] for place in places]), strict=True):
                found[place] = {"score": reward, "score_unit": "reward"}
        truncated: Row = {"null_reason": "truncated"}
        return [{**row, **found.get(place, truncated), "label_source": "outside"} for place, row in enumerate(rows)]


def _conversation(row: Row, tokenizer: Any) -> list[Message]:
    """Prompt and answer, in which no turn can spell the template's control tokens."""
    turns = [*row["prompt"], *row["completion"]]
    return [{"role": turn["role"], "content": without_control(turn["content"], tokenizer)} for turn in turns]
