"""n answers a prompt, drawn from the policy.

The one decision: every answer has its own seed, derived from (the stage's seed, prompt id, sample index), so the same
answer is drawn whatever is drawn beside it, before it, or on resuming.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from stages.artifacts import Completions, Model, Prompts, Row
from stages.engines.drawing import draw
from stages.engines.engine import Engine, Sampling
from stages.engines.memory import generated
from stages.foreseen import Foreseen, Size
from stages.parts import waves, write_parts
from stages.seeds import derive

PART = 64
"""Answers in a part of the artifact. Not the engine's batch size, which may be another when the step is resumed."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Sample answers from a policy; the numbers are the recipe's.

    Args:
        n: answers a prompt.
        temperature, top_p: how tokens are drawn; temperature 0 is greedy.
        max_new_tokens: an answer that has not ended by then is cut off and says so (``finish_reason: length``).
        seed: a recipe that must draw anew each round says ``${number}``.
        engine: where it runs; not part of the identity.
    """

    VERSION: ClassVar[int] = 1
    RESUMES: ClassVar[bool] = True

    n: int
    temperature: float
    top_p: float = 1.0
    max_new_tokens: int
    seed: int
    engine: Engine = field(compare=False)

    def __post_init__(self) -> None:
        if self.n < 1:
            raise ValueError(f"n is the number of answers a prompt, at least 1, not {self.n}")
        if self._sampling().temperature == 0 and self.n > 1:
            raise ValueError(f"greedy decoding (temperature 0) gives {self.n} equal answers; say n: 1 or raise it")

    def _sampling(self) -> Sampling:
        return Sampling(temperature=self.temperature, top_p=self.top_p, max_new_tokens=self.max_new_tokens)

    def foresee(self, *, prompts: Size, policy: Size) -> Foreseen:
        """n answers a prompt, none longer than ``max_new_tokens``."""
        rows, answer = prompts.rows * self.n, float(self.max_new_tokens)
        size = Size(rows=rows, prompts=prompts.rows, prompt=prompts.prompt, answer=answer, at_most=True)
        return generated(self.engine, policy, rows=rows, prompt=prompts.prompt, answer=answer, size=size)

    def __call__(self, *, prompts: Prompts, policy: Model, out: Completions) -> Mapping[str, float]:
        """One row an answer, in the prompts' order.

        Raises:
            ValueError: a prompt is longer than what the model can read.
        """
        size = max(1, PART // self.n)

        def answers(rows: list[Row]) -> list[list[Row]]:
            return self._answers(rows, policy, out.scratch)

        together = waves(self.engine.rows, PART)
        rows = prompts.rows(["prompt_id", "prompt"])
        write_parts(out, rows, answers, size=size, together=together, what="sampling", total=len(prompts))
        return self._metrics(out)

    def _answers(self, rows: list[Row], policy: Model, kept: Path) -> list[list[Row]]:
        seeds = [[derive("sample", self.seed, row["prompt_id"], index) for index in range(self.n)] for row in rows]
        _check_lengths(rows, policy)
        drawn = draw(self.engine, policy, [row["prompt"] for row in rows], seeds, self._sampling(), kept)
        return [
            [
                {
                    "prompt_id": row["prompt_id"],
                    "prompt": row["prompt"],
                    "sample": index,
                    "completion": [{"role": "assistant", "content": answer.text}],
                    "finish_reason": "stop" if answer.ended else "length",
                    "prompt_tokens": answer.prompt_tokens,
                    "completion_tokens": answer.tokens,
                    "sampled_from": policy.identity,
                }
                for index, answer in enumerate(answers)
            ]
            for row, answers in zip(rows, drawn, strict=True)
        ]

    def _metrics(self, out: Completions) -> Mapping[str, float]:
        rows = list(out.rows(["completion", "finish_reason", "completion_tokens"]))
        total, tokens = max(1, len(rows)), sum(len(row["completion_tokens"]) for row in rows)
        return {
            "answers": len(rows),
            "truncated": sum(row["finish_reason"] == "length" for row in rows) / total,
            "tokens_mean": tokens / total,
            "characters_mean": sum(len(row["completion"][0]["content"]) for row in rows) / total,
            "tokens": tokens,
        }


def _check_lengths(rows: list[Row], policy: Model) -> None:
    """
    Raises:
        ValueError: a prompt is longer than what the model can read.
    """
    from stages.engines.chat import prompt_tokens
    from stages.engines.models import context, load_tokenizer

    readable, tokenizer = context(policy), load_tokenizer(policy)
    for row in rows:
        size = len(prompt_tokens(tokenizer, row["prompt"]))
        if readable is not None and size >= readable:
            raise ValueError(
                f"prompt {row['prompt_id']!r} has {size:,} tokens, and the model reads {readable:,} with the answer: "
                "shorten it or leave it out"
            )
