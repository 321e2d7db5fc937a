"""The policy's own DPO reward: log π(y|x) − log ρ(y|x), as a score.

The one decision: a generated answer is scored on the ids that were generated, never on its text tokenised anew, and a
cut-off or over-long one keeps a null score instead of a number that means something else.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import ClassVar, Literal

from stages.artifacts import Completions, Model, Row, Scores
from stages.engines.engine import Engine, over, there
from stages.engines.memory import passing
from stages.foreseen import Foreseen, Size, passed
from stages.parts import write_parts
from stages.score.summary import label_source, summary

PART = 64
"""Answers that are scored and written as one part."""
REPEATED = 8
"""Answers that are scored twice, together and alone, to measure the noise of a score."""


@dataclass(frozen=True, kw_only=True)
class ImplicitReward:
    """s(x, y) = log π(y|x) − log ρ(y|x), token sums in nats, without β (DICE, arXiv 2406.09760; SPA Eq. 7).

    Args:
        reference_is: ``training`` demands that the reference is what the policy was trained against, as in DICE, else
            the log-ratio is not that model's DPO reward; ``fixed`` takes any other model, as in SPA.
        max_tokens: prompt and answer together; a longer row gets no score. Nothing is cut.
        batch_tokens: tokens that are passed at once; speed only.
        engine: whose workers score, if it has some; not part of the identity.
    """

    VERSION: ClassVar[int] = 2
    RESUMES: ClassVar[bool] = True
    DISTINCT: ClassVar = (("policy", "reference"),)

    reference_is: Literal["training", "fixed"] = "training"
    max_tokens: int = 4096
    batch_tokens: int = field(default=4096, compare=False)
    engine: Engine | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if self.max_tokens < 2 or self.batch_tokens < 1:
            raise ValueError("max_tokens must be at least 2 and batch_tokens at least 1")

    def foresee(self, *, completions: Size, policy: Size, reference: Size) -> Foreseen:
        """Each answer passed through both models."""
        memory = passing(policy, self.batch_tokens)
        return there(self.engine, passed(completions, policy, reference, answers=completions.rows, memory=memory))

    def __call__(
        self, *, completions: Completions, policy: Model, reference: Model, out: Scores
    ) -> Mapping[str, float]:
        """Scores in the order of the completions.

        Raises:
            ValueError: policy and reference are the same model, so that every score would be exactly 0, or the
                reference is not what the policy was trained against.
        """
        from stages.engines.models import check_precision

        self._check(policy, reference)
        check_precision(policy, reference)
        spread, models = over(self.engine), (policy, reference)
        scorable = islice((row for row in completions.rows() if self._scorable(row)), REPEATED)
        [noise] = spread(lambda rows: self._noise(rows, models), [list(scorable)])

        def scored(rows: list[Row]) -> list[list[Row]]:
            return [[row] for row in self._scored(rows, models, noise)]

        write_parts(out, completions.rows(), scored, size=PART, spread=spread, what="scoring", total=len(completions))
        told = summary(out, "implicit reward log π − log ρ (nats)")
        if told["scored"] and told["score_mean"] == told["score_std"] == 0:
            raise ValueError("every score is exactly 0: policy and reference have the same weights")
        return {**told, "noise": noise}

    def _check(self, policy: Model, reference: Model) -> None:
        if policy.identity == reference.identity:
            raise ValueError(
                "policy and reference are the same model, so every score would be 0: "
                "give the scorer an earlier model as its reference"
            )
        trained_against = policy.trained_against
        if self.reference_is == "training" and trained_against not in (None, reference.identity):
            raise ValueError(
                f"the policy was trained against {trained_against}, but its reference here is {reference.identity}: "
                "that log-ratio is not its DPO reward. Carry the training reference, or say reference_is: fixed"
            )

    def _noise(self, rows: list[Row], models: tuple[Model, Model]) -> float:
        """How far a score moves when the same answer is scored in another batch, root mean square, in nats."""
        from stages.engines.logprobs import score_sequences
        from stages.engines.models import load_model

        sequences = [(row["prompt_tokens"], row["completion_tokens"]) for row in rows]
        together, alone = (
            [dict(score_sequences(load_model(model), sequences, tokens)) for model in models]
            for tokens in (REPEATED * self.max_tokens, 1)
        )
        moved = [(together[0][i] - together[1][i]) - (alone[0][i] - alone[1][i]) for i in range(len(sequences))]
        return math.sqrt(sum(difference**2 for difference in moved) / max(1, len(moved)))

    def _scorable(self, row: Row) -> bool:
        return self._why_not(row) is None

    def _why_not(self, row: Row) -> str | None:
        if row["finish_reason"] != "stop":
            return "truncated"
        return "overlong" if len(row["prompt_tokens"]) + len(row["completion_tokens"]) > self.max_tokens else None

    def _scored(self, rows: list[Row], models: tuple[Model, Model], noise: float) -> list[Row]:
        from stages.engines.logprobs import score_sequences
        from stages.engines.models import load_model

        fits = [i for i, row in enumerate(rows) if self._scorable(row)]
        sequences = [(rows[i]["prompt_tokens"], rows[i]["completion_tokens"]) for i in fits]
        sums: list[dict[int, float]] = [
            {fits[place]: value for place, value in score_sequences(load_model(model), sequences, self.batch_tokens)}
            for model in models
        ]
        return [
            {
                **row,
                "policy_logp": sums[0].get(i),
                "reference_logp": sums[1].get(i),
                "score": sums[0][i] - sums[1][i] if i in sums[0] else None,
                "score_unit": "log-ratio",
                "null_reason": self._why_not(row),
                "label_source": label_source(row, models[0]),
                "scored_policy": models[0].identity,
                "score_noise": noise,
            }
            for i, row in enumerate(rows)
        ]
