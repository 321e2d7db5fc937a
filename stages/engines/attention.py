"""Attention for decoding with grouped query heads (arXiv:2305.13245).

The one decision: the query heads that share a key head are given to torch as so many queries of that head. Where there
is a mask, transformers copies every key and value for each of them instead; in decoding that costs as much as the rest.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

NAME = "selfloop_grouped"


def share_keys(model: Any) -> None:
    """Let a model that attends with torch's attention copy no keys when it passes one token a row."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    if model.config._attn_implementation == "sdpa":
        AttentionInterface.register(NAME, _attend)
        AttentionMaskInterface.register(NAME, sdpa_mask)
        model.set_attn_implementation(NAME)


def _attend(
    module: "torch.nn.Module",
    query: "torch.Tensor",
    key: "torch.Tensor",
    value: "torch.Tensor",
    attention_mask: "torch.Tensor | None",
    scaling: float | None = None,
    **others: Any,
) -> tuple["torch.Tensor", None]:
    """Queries [rows, heads, 1, width], keys [rows, key heads, columns, width]; all else as transformers does it."""
    from torch.nn.functional import scaled_dot_product_attention
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    rows, heads, queries, width = query.shape
    if queries > 1 or others.get("position_bias") is not None:
        attended, _ = sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **others)
        return attended, None
    grouped = query.reshape(rows, key.shape[1], -1, width)
    attended = scaled_dot_product_attention(grouped, key, value, attn_mask=attention_mask, scale=scaling)
    return attended.reshape(rows, 1, heads, -1), None
