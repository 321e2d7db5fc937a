"""Preference losses as pure functions of log-probs.

The one decision: a loss sees summed log-probs under policy and reference and nothing else: [pairs] in, [pairs] out.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def log_ratio_gap(
    chosen: "torch.Tensor", rejected: "torch.Tensor", ref_chosen: "torch.Tensor", ref_rejected: "torch.Tensor"
) -> "torch.Tensor":
    """Δ = [log π(y_w) − log ρ(y_w)] − [log π(y_l) − log ρ(y_l)], in nats, [pairs]."""
    return (chosen - ref_chosen) - (rejected - ref_rejected)


def dpo(gap: "torch.Tensor", beta: float) -> "torch.Tensor":
    """−log σ(βΔ) (Rafailov et al., 2023, arXiv 2305.18290, equation 7), [pairs]."""
    from torch.nn.functional import logsigmoid

    return -logsigmoid(beta * gap)
