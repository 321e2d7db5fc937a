"""The policy's own DPO reward: log π(y|x) − log ρ(y|x), as a score.

The one decision: a generated answer is scored on the ids that were generated, never on its text tokenised anew, and a
cut-off or over-long one keeps a null score instead of a number that means something else. One model is in memory at a
time: all answers are passed through the policy, and then through the reference.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import ClassVar, Literal

from stages.artifacts import Completions, Model, Row, Scores, Table
from stages.engines.engine import Engine, over, there
from stages.engines.memory import passing
from stages.foreseen import Foreseen, Size, passed
from stages.parts import write_parts
from stages.score.summary import label_source, summary

PART = 64
"""Answers that are scored and written as one part."""
REPEATED = 8
"""Answers that are scored twice, together and alone, to measure the noise of a score."""


class _LogProbs(Table):
    """What the policy makes of the answers, in their order, until the reference has read them too."""

    COLUMNS: ClassVar = {"policy_logp": "number"}


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
        tried = list(islice((row for row in completions.rows() if self._why_not(row) is None), REPEATED))
        of_policy, logps = self._twice(tried, policy), _LogProbs(out.scratch / "policy")
        logps.path.mkdir(exist_ok=True)

        def first(rows: list[Row]) -> list[list[Row]]:
            return [[{"policy_logp": logp}] for logp in self._logps(rows, policy, self.batch_tokens)]

        def second(rows: list[Row]) -> list[list[Row]]:
            of_reference = self._logps(rows, reference, self.batch_tokens)
            return [[self._scored(*each, policy, noise)] for each in zip(rows, of_reference, strict=True)]

        write = partial(write_parts, size=PART, spread=over(self.engine), total=len(completions))
        write(logps, completions.rows(), first, what="log π of the policy")
        noise = _noise(of_policy, self._twice(tried, reference))
        both = ({**row, **logp} for row, logp in zip(completions.rows(), logps.rows(), strict=True))
        write(out, both, second, what="log ρ of the reference")
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

    def _why_not(self, row: Row) -> str | None:
        if row["finish_reason"] != "stop":
            return "truncated"
        return "overlong" if len(row["prompt_tokens"]) + len(row["completion_tokens"]) > self.max_tokens else None

    def _scored(self, row: Row, logp: float | None, policy: Model, noise: float) -> Row:
        """A row that has its log π, with its log ρ."""
        return {
            **row,
            "reference_logp": logp,
            "score": None if logp is None else row["policy_logp"] - logp,
            "score_unit": "log-ratio",
            "null_reason": self._why_not(row),
            "label_source": label_source(row, policy),
            "scored_policy": policy.identity,
            "score_noise": noise,
        }

    def _twice(self, rows: list[Row], model: Model) -> list[list[float]]:
        """Log-probs of the same answers, together and alone."""
        budgets = self.batch_tokens, 1
        [found] = over(self.engine)(lambda rows: [self._logps(rows, model, tokens) for tokens in budgets], [rows])
        return found  # type: ignore[no-any-return]

    def _logps(self, rows: list[Row], model: Model, tokens: int) -> list[float | None]:
        """log π of each answer in nats, at most so many tokens at a time; None where it must not be had."""
        from stages.engines.logprobs import score_sequences
        from stages.engines.models import load_model

        fits = [place for place, row in enumerate(rows) if self._why_not(row) is None]
        sequences = [(rows[place]["prompt_tokens"], rows[place]["completion_tokens"]) for place in fits]
        sums = {fits[index]: value for index, value in score_sequences(load_model(model), sequences, tokens)}
        return [sums.get(place) for place in range(len(rows))]


def _noise(policy: Sequence[list[float]], reference: Sequence[list[float]]) -> float:
    """How far a score moves when the same answer is scored in another batch, root mean square, in nats."""
    scores = [[own - old for own, old in zip(*logps, strict=True)] for logps in zip(policy, reference, strict=True)]
    moved = [together - alone for together, alone in zip(*scores, strict=True)]
    return math.sqrt(sum(difference**2 for difference in moved) / max(1, len(moved)))
