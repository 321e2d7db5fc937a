"""Preference losses as pure functions of log-probs.

The one decision: a loss sees summed log-probs under policy and reference and nothing else: [pairs] in, [pairs] out.
Δ is the log-ratio gap, in nats; w is the chosen answer and l the rejected one.
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


def smoothed(gap: "torch.Tensor", beta: float, doubt: "torch.Tensor") -> "torch.Tensor":
    """−(1 − ε)·log σ(βΔ) − ε·log σ(−βΔ), with a doubt ε in [0, 1] for each pair, [pairs].

    SPA's self-refinement with ε = α where a pair is doubtful and 0 elsewhere (arXiv 2406.04412); OSP's soft labels with
    ε = 1 − p (arXiv 2405.14103, the natural reading of an unverified formula); conservative DPO with a constant ε.
    """
    return (1 - doubt) * dpo(gap, beta) + doubt * dpo(-gap, beta)


def robust(gap: "torch.Tensor", beta: float, flipped: float) -> "torch.Tensor":
    """[(1 − ε)·ℓ(Δ) − ε·ℓ(−Δ)] / (1 − 2ε), ℓ = −log σ(β·), unbiased if a share ε of the labels is flipped (rDPO,
    arXiv 2403.00409), [pairs]."""
    return ((1 - flipped) * dpo(gap, beta) - flipped * dpo(-gap, beta)) / (1 - 2 * flipped)


def identity(gap: "torch.Tensor", tau: float) -> "torch.Tensor":
    """(Δ − 1/(2τ))² (identity-PO, Azar et al., arXiv 2310.12036, equation 17), on token sums, [pairs]."""
    return (gap - 1 / (2 * tau)) ** 2


def sppo(
    chosen_ratio: "torch.Tensor",
    rejected_ratio: "torch.Tensor",
    beta: float,
    chosen_wins: "torch.Tensor",
    rejected_wins: "torch.Tensor",
) -> "torch.Tensor":
    """½{[s(y_w) − (P_w − ½)/β]² + [s(y_l) − (P_l − ½)/β]²}, s = log π − log ρ, P the probability to win against the
    policy's other answers (SPPO, arXiv 2405.00675), [pairs]."""
    chosen = chosen_ratio - (chosen_wins - 0.5) / beta
    rejected = rejected_ratio - (rejected_wins - 0.5) / beta
    return (chosen**2 + rejected**2) / 2


def inpo(
    policy: "torch.Tensor", anchor: "torch.Tensor", current: "torch.Tensor", tau: float, eta: float
) -> "torch.Tensor":
    """(h − 1/(2η))², h = g(π) − (τ/η)·g(π_ref) − ((η − τ)/η)·g(π_t), g = log(π(y_w)/π(y_l)) (INPO, arXiv 2407.00617).

    Args:
        policy, anchor, current: g of the trained policy, of the first reference, and of the round's, [pairs].
    """
    h = policy - tau / eta * anchor - (eta - tau) / eta * current
    return (h - 1 / (2 * eta)) ** 2


def extrapolated(policy_logits: "torch.Tensor", reference_logits: "torch.Tensor", by: float) -> "torch.Tensor":
    """log softmax of h̃ = (1 + λ)·h_θ − λ·h_ref (SPA's de-coupled noise detection), [tokens, vocabulary]."""
    return ((1 + by) * policy_logits - by * reference_logits).log_softmax(-1)


def symmetric_divergence(first: "torch.Tensor", second: "torch.Tensor") -> "torch.Tensor":
    """½[KL(p‖q) + KL(q‖p)] of two Bernoulli probabilities, clamped to [1e-4, 1 − 1e-4], [pairs]."""
    p, q = _clamped(first), _clamped(second)
    return ((p - q) * (p.logit() - q.logit())) / 2


def entropy(probability: "torch.Tensor") -> "torch.Tensor":
    """Of a Bernoulli probability, clamped likewise, in nats, [pairs]."""
    p = _clamped(probability)
    return -(p * p.log() + (1 - p) * (1 - p).log())


def _clamped(probability: "torch.Tensor") -> "torch.Tensor":
    return probability.clamp(1e-4, 1 - 1e-4)
