"""Supervised fine-tuning on demonstrations, by trl's SFTTrainer."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from stages.artifacts import Demonstrations, Model, Row
from stages.foreseen import Foreseen, Size
from stages.train.foreseen import trained
from stages.train.training import Training


@dataclass(frozen=True, kw_only=True)
class SFT(Training):
    """Train the policy to give the demonstrated answers: −log π of the answers' tokens, mean over a batch's tokens
    (Self-Rewarding's M₁ with instructions and judgements together). The fields are those of every Training."""

    VERSION: ClassVar[int] = 1
    RESUMES: ClassVar[bool] = True

    def foresee(self, *, demonstrations: Size, policy: Size, more: Size | None = None) -> Foreseen:
        """A trained copy of the policy."""
        rows = demonstrations.rows + (more.rows if more else 0)
        return trained(self, policy, replace(demonstrations, rows=rows), answers=1)

    def __call__(
        self, *, demonstrations: Demonstrations, policy: Model, out: Model, more: Demonstrations | None = None
    ) -> Mapping[str, float]:
        """A trained copy of the policy; ``more`` demonstrations are shuffled among the others.

        Raises:
            ValueError: no demonstration is left.
        """
        from stages.engines.models import release
        from stages.train.fitting import in_order
        from stages.train.sft_trainer import train

        counts: Counter[str] = Counter()
        tables = [demonstrations, *([more] if more else [])]
        rows = [row for table in tables for row in self._tokenised(table, policy, counts)]
        if not rows:
            raise ValueError(
                f"no demonstration is left to train on: {dict(counts)}. Likely causes: max_tokens is too small, or the "
                "chat template does not fit"
            )
        release()
        return train(self, in_order(rows, self), policy, out) | {name: float(count) for name, count in counts.items()}

    def _tokenised(self, table: Demonstrations, policy: Model, counts: Counter[str]) -> Iterator[Row]:
        from stages.engines.chat import answer_tokens, prompt_tokens
        from stages.engines.models import end_of_turn, load_tokenizer

        tokenizer, ends = load_tokenizer(policy), end_of_turn(policy)
        for row in table.rows(["prompt", "completion"]):
            try:
                answer = answer_tokens(tokenizer, row["prompt"], row["completion"], ends)
            except ValueError:
                counts["dropped_unrenderable"] += 1
                continue
            prompt = prompt_tokens(tokenizer, row["prompt"])
            if len(prompt) + len(answer) > self.max_tokens:
                counts["dropped_overlong"] += 1
                continue
            counts["demonstrations"] += 1
            yield {"prompt_tokens": prompt, "answer_tokens": answer}
