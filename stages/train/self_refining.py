"""SPA's self-refining loss: DPO that smooths the labels of the pairs which the model itself doubts.

The one decision: doubt is judged pair after pair against the margins that came before it in training, in one order for
the whole training, so how a batch is split into micro-batches does not change the threshold.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from stages.train import losses
from stages.train.objectives import Batch, positive

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, kw_only=True)
class SelfRefining:
    """−(1 − ε)·log σ(βΔ) − ε·log σ(−βΔ), with ε = α for a doubtful pair and 0 for any other (arXiv 2406.04412).

    A pair is doubtful if its margin, under the policy whose logits are extrapolated away from the reference's by λ, is
    not above the running percentile of the last ``window`` margins; until there are so many, not above 0.

    Args:
        beta: β.
        smoothing: α. For 0 say Sigmoid: that is the paper's ablation without self-refinement.
        extrapolation: λ; the paper's rounds take 1/2, 1/4, 1/8. 0 takes the policy as it is (no de-coupled noise
            detection, the paper's other ablation), and then no reference model is held in memory.
        doubtful: the share of pairs that is to be doubted (K).
        window: margins that the percentile is over.
        off_until: the share of steps in which nothing is smoothed; 0 smooths from the start.
    """

    NEEDS: ClassVar[tuple[str, ...]] = ()
    REMEMBERS: ClassVar[bool] = True

    beta: float
    extrapolation: float
    smoothing: float = 0.1
    doubtful: float = 0.1
    window: int = 50
    off_until: float = 0.2

    def __post_init__(self) -> None:
        positive(self, "beta", "window")
        if not 0 < self.smoothing <= 0.5:
            raise ValueError(f"smoothing must be in (0, 0.5], not {self.smoothing}; without smoothing say Sigmoid")
        if self.extrapolation < 0:
            raise ValueError(f"extrapolation must be at least 0, not {self.extrapolation}")
        if not 0 < self.doubtful < 1 or not 0 <= self.off_until < 1:
            raise ValueError(
                f"doubtful must be in (0, 1) and off_until in [0, 1), not {self.doubtful} and {self.off_until}"
            )

    def __call__(self, batch: Batch) -> "torch.Tensor":
        """[pairs]. Remembers each pair's margin."""
        import torch

        doubted = []
        for margin in self._margins(batch).tolist():
            doubted.append(margin <= self.threshold(batch.memory))
            batch.memory.append(margin)
            del batch.memory[: -self.window]
        active = batch.progress >= self.off_until
        doubt = self.smoothing * torch.tensor(doubted).to(batch.chosen) * active
        batch.columns["smoothed"] = (doubt > 0).to(batch.chosen)
        return losses.smoothed(batch.gap, self.beta, doubt)

    def threshold(self, margins: Sequence[float]) -> float:
        """τ: the mean of the two order statistics about the percentile, as in the authors' code; 0 before that."""
        if len(margins) < self.window:
            return 0.0
        place = int(self.window * self.doubtful)
        ordered = sorted(margins)
        return (ordered[place] + ordered[min(place + 1, self.window - 1)]) / 2

    def _margins(self, batch: Batch) -> "torch.Tensor":
        """β·Δ of the extrapolated policy, [pairs], without a gradient."""
        if self.extrapolation == 0:
            return self.beta * batch.gap.detach()
        chosen, rejected = batch.extrapolated(self.extrapolation)
        return self.beta * losses.log_ratio_gap(chosen, rejected, batch.ref_chosen, batch.ref_rejected)
