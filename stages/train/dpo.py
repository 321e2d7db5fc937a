"""Direct preference optimisation and its relatives, by trl's trainer.

The one decision: optimizer, schedule, accumulation, distribution and logging are trl's; log-probs and loss are ours, so
that scoring, reference and training share one function and the first log-ratio against one's own reference is 0.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from stages.artifacts import Model, Pairs
from stages.foreseen import Foreseen, Size
from stages.train.foreseen import trained
from stages.train.objectives import Loss
from stages.train.training import Training


@dataclass(frozen=True, kw_only=True)
class DPO(Training):
    """Train the policy on pairs against a reference.

    Args:
        loss: of the pairs' log-probs: Sigmoid is DPO (arXiv 2305.18290). See stages/train/objectives.py.
        length_normalised: divide each answer's log-probs, policy's and reference's, by its number of tokens.
        sft_weight: of −log π(y_w) per token, which is added to the loss; 0 for none.

    The other fields are those of every Training.
    """

    VERSION: ClassVar[int] = 1
    RESUMES: ClassVar[bool] = True

    loss: Loss
    length_normalised: bool = False
    sft_weight: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.sft_weight < 0:
            raise ValueError(f"sft_weight must be at least 0, not {self.sft_weight}")
        if getattr(self.loss, "REMEMBERS", False):
            self.execution.in_one_process(type(self.loss).__name__)

    def foresee(self, *, pairs: Size, policy: Size, reference: Size) -> Foreseen:
        """A trained copy of the policy."""
        return trained(self, policy, pairs)

    def __call__(self, *, pairs: Pairs, policy: Model, reference: Model, out: Model) -> Mapping[str, float]:
        """A trained copy of the policy.

        Raises:
            ValueError: no pair is left, the loss needs what the pairs do not say, or policy = reference and the first
                log-ratio is not 0.
        """
        from stages.engines.models import release
        from stages.train.fitting import in_order
        from stages.train.pair_objective import PairObjective
        from stages.train.pair_rows import give_logprobs, is_known, trainable
        from stages.train.preference_trainer import train

        rows, counts = trainable(pairs, policy, self.max_tokens, self.loss.NEEDS, not self.four_bits)
        counts["known_logps"] = sum(is_known(row, reference) for row in rows)
        rows = in_order(rows, self)
        give_logprobs(rows, policy, reference, "reference", self)
        release()
        objective = PairObjective(
            loss=self.loss,
            reference=reference,
            length_normalised=self.length_normalised,
            sft_weight=self.sft_weight,
        )
        metrics = train(self, rows, objective, policy, out, from_reference=policy.identity == reference.identity)
        out.record_lineage(trained_from=policy.identity, trained_against=reference.identity)
        return metrics | {name: float(count) for name, count in counts.items()}
