"""Drawing tokens: temperature, the nucleus, and the draw itself.

The one decision: a token is chosen by inverting the cumulative distribution at a number that the caller brings, so that
whose number it is stays the caller's business. The nucleus is that of Holtzman et al. (arXiv:1904.09751).
"""

from typing import TYPE_CHECKING

from stages.engines.engine import Sampling

if TYPE_CHECKING:
    import torch


def choose(logits: "torch.Tensor", draws: "torch.Tensor", sampling: Sampling) -> "torch.Tensor":
    """The next token of each row by inverting the cumulative distribution at the row's draw.

    Args:
        logits: [rows, vocabulary].
        draws: [rows], in [0, 1).

    Returns:
        [rows], token ids. With ``top_p`` < 1 only the smallest set of most likely tokens that holds it is drawn from.

    Raises:
        ValueError: a logit is NaN.
    """
    if logits.amax(-1).isnan().any():
        raise ValueError("the model's logits are NaN, so there is nothing to draw: its weights or activations overflow")
    if sampling.temperature == 0:
        return logits.argmax(-1)
    probabilities = (logits.float() / sampling.temperature).softmax(-1)
    if sampling.top_p == 1:
        return _invert(probabilities.cumsum(-1), draws)
    width = min(256, logits.shape[-1])
    top, tokens = probabilities.topk(width)
    while width < logits.shape[-1] and bool((top.sum(-1) < sampling.top_p).any()):
        width = min(width * 8, logits.shape[-1])
        top, tokens = probabilities.topk(width)
    before = top.cumsum(-1) - top
    places = _invert((top * (before < sampling.top_p)).cumsum(-1), draws)
    return tokens.gather(-1, places[:, None])[:, 0]


def _invert(cumulative: "torch.Tensor", draws: "torch.Tensor") -> "torch.Tensor":
    """Where each row's cumulative mass passes its draw; never beyond the last place that has any mass."""
    import torch

    whole = cumulative[:, -1:].contiguous()
    places = torch.searchsorted(cumulative, draws.to(cumulative)[:, None] * whole, right=True)
    return torch.minimum(places, torch.searchsorted(cumulative, whole))[:, 0]
