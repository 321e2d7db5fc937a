"""Self-improvement's own failure modes, seen on the policy's answers to a fixed set of prompts.

The one decision: every number stands beside that of the model that the loop began with, on the same prompts. A loop
fails slowly, and each round looks much like the one before.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import fmean
from typing import ClassVar

from stages.artifacts import Completions, Model, Report, Row
from stages.engines.engine import Engine, there
from stages.engines.memory import passing
from stages.evaluate.diversity import Answer, distinct, self_bleu
from stages.evaluate.next_token import next_token
from stages.foreseen import Foreseen, Size, passed

ORDERS = (1, 2, 3)


@dataclass(frozen=True, kw_only=True)
class Monitor:
    """distinct-1, -2 and -3, self-BLEU and length of the answers; entropy, mass of the top k and KL to the start.

    ``length_ratio`` is mean tokens an answer over those of the start; ``distinct_ratio`` the smallest of the three
    ratios of distinct-n to the start's. What a greedy answer says of entropy and KL holds along that answer: it is a
    mean over its positions, not an expectation over what the policy might have drawn.

    Args:
        top: of how many tokens ``top_mass`` is the probability.
        batch_tokens: tokens that are passed at once; speed only.
        engine: whose workers pass them, if it has some; not part of the identity.
    """

    VERSION: ClassVar[int] = 2

    top: int = 10
    batch_tokens: int = field(default=4096, compare=False)
    engine: Engine | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if self.top < 1 or self.batch_tokens < 1:
            raise ValueError("top and batch_tokens must be at least 1")

    def foresee(self, *, policy: Size, start: Size, answers: Size, start_answers: Size) -> Foreseen:
        """Each answer passed through both models."""
        memory = passing(policy, self.batch_tokens)
        told = passed(answers, policy, start, answers=answers.rows, memory=memory, size=Size(), together=True)
        return there(self.engine, told)

    def __call__(
        self, *, policy: Model, start: Model, answers: Completions, start_answers: Completions, out: Report
    ) -> Mapping[str, float]:
        """Of the policy's answers, and of the start's to the same prompts.

        Raises:
            ValueError: the two answered other prompts, or answers are not the policy's own.
        """
        rows, before = ([*each.rows()] for each in (answers, start_answers))
        if not rows or {row["prompt_id"] for row in rows} != {row["prompt_id"] for row in before}:
            raise ValueError("the start's answers are to other prompts: drift is seen on one fixed set of them")
        if {row["sampled_from"] for row in rows} != {policy.identity}:
            raise ValueError("the answers were not sampled from this policy")
        own, begun = ([_said(row) for row in each] for each in (rows, before))
        ratios = {n: _ratio(distinct(own, n), distinct(begun, n)) for n in ORDERS}
        sequences = [(row["prompt_tokens"], row["completion_tokens"]) for row in rows]
        report = {
            "length_ratio": _ratio(fmean(map(len, own)), fmean(map(len, begun))),
            "distinct_ratio": min((ratio for ratio in ratios.values() if ratio is not None), default=None),
            **{f"distinct_{n}": distinct(own, n) for n in ORDERS},
            "self_bleu": self_bleu(own),
            **next_token(policy, start, sequences, top=self.top, batch_tokens=self.batch_tokens, engine=self.engine),
        }
        out.write(report)
        return {name: value for name, value in report.items() if value is not None}


def _said(row: Row) -> Answer:
    """The generated ids without the one that ends the turn."""
    tokens: list[int] = row["completion_tokens"]
    return tokens[:-1] if row["finish_reason"] == "stop" else tokens


def _ratio(now: float, before: float) -> float | None:
    """``now`` over ``before``; None where there was nothing before."""
    return now / before if before else None
