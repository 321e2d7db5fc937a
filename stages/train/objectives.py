"""Which preference loss a training minimises, as configuration: one small class a loss, with that loss's own numbers.

The one decision: a number belongs to the loss that uses it, so an option that would be ignored cannot be said.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol, runtime_checkable

from stages.train import losses

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, kw_only=True)
class Batch:
    """What a loss may look at. Tensors are [pairs].

    Args:
        chosen, rejected, ref_chosen, ref_rejected: summed log-probs under policy and reference, in nats.
        columns: those of the pairs that the loss ``NEEDS``.
        progress: the share of the training's steps that are done.
        memory: numbers that the loss keeps from batch to batch; they survive a kill.
        extrapolated: λ → (log π̃(y_w), log π̃(y_l)) of the policy extrapolated away from its reference by λ.
    """

    chosen: "torch.Tensor"
    rejected: "torch.Tensor"
    ref_chosen: "torch.Tensor"
    ref_rejected: "torch.Tensor"
    columns: "dict[str, torch.Tensor]"
    progress: float
    memory: list[float]
    extrapolated: "Callable[[float], tuple[torch.Tensor, ...]]"

    @property
    def gap(self) -> "torch.Tensor":
        """Δ, see losses.log_ratio_gap."""
        return losses.log_ratio_gap(self.chosen, self.rejected, self.ref_chosen, self.ref_rejected)


@runtime_checkable
class Loss(Protocol):
    """A preference loss. ``NEEDS`` names the columns of Pairs that it reads and that may not be null. One that keeps
    numbers from batch to batch says ``REMEMBERS = True``."""

    NEEDS: ClassVar[tuple[str, ...]]

    def __call__(self, batch: Batch) -> "torch.Tensor":
        """[pairs]."""


@dataclass(frozen=True, kw_only=True)
class Sigmoid:
    """DPO: −log σ(βΔ)."""

    NEEDS: ClassVar[tuple[str, ...]] = ()
    beta: float

    def __post_init__(self) -> None:
        positive(self, "beta")

    def __call__(self, batch: Batch) -> "torch.Tensor":
        """[pairs]."""
        return losses.dpo(batch.gap, self.beta)


@dataclass(frozen=True, kw_only=True)
class Soft:
    """OSP: DPO on soft labels; ``preference`` is how sure the labeller was that the chosen answer is the better one."""

    NEEDS: ClassVar[tuple[str, ...]] = ("preference",)
    beta: float

    def __post_init__(self) -> None:
        positive(self, "beta")

    def __call__(self, batch: Batch) -> "torch.Tensor":
        """[pairs]."""
        return losses.smoothed(batch.gap, self.beta, 1 - batch.columns["preference"])


@dataclass(frozen=True, kw_only=True)
class Robust:
    """rDPO: unbiased where a share ``flipped`` of all labels is wrong."""

    NEEDS: ClassVar[tuple[str, ...]] = ()
    beta: float
    flipped: float

    def __post_init__(self) -> None:
        positive(self, "beta")
        if not 0 < self.flipped < 0.5:
            raise ValueError(f"flipped must be a share of labels in (0, 0.5), not {self.flipped}; for 0 say Sigmoid")

    def __call__(self, batch: Batch) -> "torch.Tensor":
        """[pairs]."""
        return losses.robust(batch.gap, self.beta, self.flipped)


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Identity-PO: (Δ − 1/(2τ))², on token sums (trl's ``ipo`` takes means, so its β is another number)."""

    NEEDS: ClassVar[tuple[str, ...]] = ()
    tau: float

    def __post_init__(self) -> None:
        positive(self, "tau")

    def __call__(self, batch: Batch) -> "torch.Tensor":
        """[pairs]."""
        return losses.identity(batch.gap, self.tau)


@dataclass(frozen=True, kw_only=True)
class SPPO:
    """SPPO with soft wins: each answer's win rate among the answers to its prompt."""

    NEEDS: ClassVar[tuple[str, ...]] = ("chosen_wins", "rejected_wins")
    beta: float

    def __post_init__(self) -> None:
        positive(self, "beta")

    def __call__(self, batch: Batch) -> "torch.Tensor":
        """[pairs]."""
        ratios = batch.chosen - batch.ref_chosen, batch.rejected - batch.ref_rejected
        return losses.sppo(*ratios, self.beta, batch.columns["chosen_wins"], batch.columns["rejected_wins"])


def positive(settings: object, *names: str) -> None:
    """
    Raises:
        ValueError: one of these fields is not above 0.
    """
    for name in names:
        if getattr(settings, name) <= 0:
            raise ValueError(f"{name} must be above 0, not {getattr(settings, name)}")
