"""Attention without copies and without padding, in the place of transformers' own.

The one decision: a model is given it when it is loaded, if what it computes stays the same: that is tried on a few
tokens. Where it does not (attention of another kind, layers with a state), the model keeps its own and is passed whole
sequences.
"""

from typing import TYPE_CHECKING, Any

from stages.engines.packed import Packed, packed

if TYPE_CHECKING:
    import torch

NAME = "selfloop"
TRIED = [([3, 4, 5], [6, 7]), ([3, 4, 5], [8, 9, 10]), ([6, 3], [4])]
CLOSE = 0.02
"""The share of the largest state by which the states of the tried tokens may differ: more than what bfloat16 rounds."""


def attend_well(model: Any) -> None:
    """Let a model that attends with torch's attention do so without padding and without copies of its keys."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    if model.config._attn_implementation != "sdpa":
        return
    import torch

    AttentionInterface.register(NAME, _attend)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    tried = packed(TRIED).to(model.device)
    with torch.no_grad():
        own = last_states(model, tried)
        model.set_attn_implementation(NAME)
        try:
            differs = (last_states(model, tried) - own).abs().max() > CLOSE * own.abs().max()
        except (TypeError, ValueError, RuntimeError, IndexError):
            differs = torch.tensor(True)
    if differs:
        model.set_attn_implementation("sdpa")


def last_states(model: Any, sequences: Packed) -> "torch.Tensor":
    """The final hidden state of every token, [tokens, width]."""
    import torch

    if model.config._attn_implementation == NAME:
        states: torch.Tensor = model.base_model(
            input_ids=sequences.ids,
            position_ids=sequences.positions,
            attention_mask=sequences.ids.new_zeros(1, 1, 1, 1),  # one of four dimensions is taken as made already
            use_cache=False,
            packed=sequences,
        ).last_hidden_state[0]
        return states
    rows = (model.base_model(input_ids=sequences.ids[0][group], use_cache=False) for group in sequences.laid)
    return torch.cat([group.last_hidden_state.flatten(0, 1) for group in rows])[sequences.back]


def _attend(
    module: "torch.nn.Module",
    query: "torch.Tensor",
    key: "torch.Tensor",
    value: "torch.Tensor",
    attention_mask: "torch.Tensor | None",
    scaling: float | None = None,
    packed: Packed | None = None,
    **others: Any,
) -> tuple["torch.Tensor", None]:
    """Queries [rows, heads, queries, width], keys [rows, key heads, columns, width]; as transformers has it."""
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    if packed is not None:
        return _attend_packed(module, query, key, value, packed, scaling=scaling, **others), None
    if query.shape[2] == 1 and others.get("position_bias") is None:
        return _attend_one(query, key, value, attention_mask, scaling), None
    attended, _ = sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **others)
    return attended, None


def _attend_packed(
    module: "torch.nn.Module",
    query: "torch.Tensor",
    key: "torch.Tensor",
    value: "torch.Tensor",
    sequences: Packed,
    sliding_window: int | None = None,
    **others: Any,
) -> "torch.Tensor":
    """Each sequence attends to itself alone: states in one line, [1, heads, tokens, width], laid out and put back."""
    import torch
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    flat = [states[0].transpose(0, 1).flatten(1) for states in (query, key, value)]
    heads = [states.shape[1] for states in (query, key, value)]
    attended = []
    for group in sequences.laid:
        rows = [
            states.index_select(0, group.flatten()).view(*group.shape, count, -1).transpose(1, 2)
            for states, count in zip(flat, heads, strict=True)
        ]
        mask = None
        if sliding_window is not None and group.shape[1] > sliding_window:
            square = torch.ones(group.shape[1], group.shape[1], dtype=torch.bool, device=group.device)
            mask = square.tril().triu(1 - sliding_window)[None, None]
        attended.append(sdpa_attention_forward(module, *rows, mask, **others)[0].flatten(0, 1))
    return torch.cat(attended).index_select(0, sequences.back)[None]


def _attend_one(
    query: "torch.Tensor",
    key: "torch.Tensor",
    value: "torch.Tensor",
    attention_mask: "torch.Tensor | None",
    scaling: float | None,
) -> "torch.Tensor":
    """One token a row, as in decoding, with grouped query heads (arXiv:2305.13245): those that share a key head are
    given to torch as so many queries of that head. Where there is a mask, transformers copies every key and value for
    each of them instead; in decoding that costs as much as the rest."""
    from torch.nn.functional import scaled_dot_product_attention

    rows, heads, _, width = query.shape
    grouped = query.reshape(rows, key.shape[1], -1, width)
    attended = scaled_dot_product_attention(grouped, key, value, attn_mask=attention_mask, scale=scaling)
    return attended.reshape(rows, 1, heads, -1)
