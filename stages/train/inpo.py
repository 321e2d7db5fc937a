"""Iterative Nash policy optimisation: two references, this round's and the first one."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from stages.artifacts import Model, Pairs
from stages.foreseen import Foreseen, Size
from stages.train import losses
from stages.train.foreseen import trained
from stages.train.objectives import Batch, positive
from stages.train.training import Training

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, kw_only=True)
class INPO(Training):
    """Train the policy on pairs with (h − 1/(2η))², see losses.inpo (arXiv 2407.00617). Its log-probs are token sums.

    Args:
        eta: η. The paper's value is 7.5e-3.
        tau: τ, of which η/3 is the paper's value; below η.

    The other fields are those of every Training.
    """

    VERSION: ClassVar[int] = 1
    RESUMES: ClassVar[bool] = True

    eta: float
    tau: float

    def __post_init__(self) -> None:
        super().__post_init__()
        positive(self, "eta", "tau")
        if self.tau >= self.eta:
            raise ValueError(f"tau must be below eta, not {self.tau} and {self.eta}")

    def foresee(self, *, pairs: Size, policy: Size, reference: Size, anchor: Size) -> Foreseen:
        """A trained copy of the policy."""
        return trained(self, policy, pairs)

    def __call__(
        self, *, pairs: Pairs, policy: Model, reference: Model, anchor: Model, out: Model
    ) -> Mapping[str, float]:
        """A trained copy of the policy; ``reference`` is the round's π_t and ``anchor`` the first reference π_ref.

        Raises:
            ValueError: no pair is left, or policy = reference and the first log-ratio is not 0.
        """
        from stages.engines.models import release
        from stages.train.fitting import in_order
        from stages.train.pair_objective import PairObjective
        from stages.train.pair_rows import give_logprobs, is_known, trainable
        from stages.train.preference_trainer import train

        rows, counts = trainable(pairs, policy, self.max_tokens, carried=not self.four_bits)
        counts["known_logps"] = sum(is_known(row, reference) for row in rows)
        rows = in_order(rows, self)
        give_logprobs(rows, policy, reference, "reference", self)
        give_logprobs(rows, policy, anchor, "anchor", self)
        release()
        objective = PairObjective(loss=_Loss(eta=self.eta, tau=self.tau), reference=reference)
        metrics = train(self, rows, objective, policy, out, from_reference=policy.identity == reference.identity)
        out.record_lineage(trained_from=policy.identity, trained_against=reference.identity)
        return metrics | {name: float(count) for name, count in counts.items()}


@dataclass(frozen=True, kw_only=True)
class _Loss:
    NEEDS: ClassVar[tuple[str, ...]] = ("anchor_chosen_logps", "anchor_rejected_logps")
    eta: float
    tau: float

    def __call__(self, batch: Batch) -> "torch.Tensor":
        chosen, rejected = (batch.columns[name] for name in self.NEEDS)
        current = batch.ref_chosen - batch.ref_rejected
        return losses.inpo(batch.chosen - batch.rejected, chosen - rejected, current, tau=self.tau, eta=self.eta)
