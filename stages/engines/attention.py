"""Attention without copies and without padding, in the place of transformers' own.

The one decision: a model is given it when it is loaded, if what it computes stays the same: that is tried on a few
tokens. Where it does not (attention of another kind, layers with a state), the model keeps its own and is passed whole
sequences; and so is every sequence that is longer than a window of the model's.
"""

from typing import TYPE_CHECKING, Any

from stages.engines.packed import Packed, packed

if TYPE_CHECKING:
    import torch

NAME = "selfloop"
TRIED = [([3, 4, 5], [6, 7]), ([3, 4, 5], [8, 9, 10]), ([6, 3], [4])]
CLOSE = {"float32": 1e-4}
CLOSE_HALF = 0.05
"""The share of a token's state by which it may differ in the trial: what rounding does, in float32 and in less."""
WINDOWS = ("sliding_window", "attention_chunk_size")
MADE = (1, 1, 1, 1)
"""The shape of a mask that says nothing. transformers takes a mask of four dimensions as made already."""


def attend_well(model: Any) -> None:
    """Let a model that attends with torch's attention do so without padding and without copies of its keys."""
    if model.config._attn_implementation != "sdpa":
        return
    import torch

    tried = packed(TRIED).to(model.device)
    with torch.no_grad():
        try:
            own = last_states(model, tried)
            attend_as(model, NAME)
            apart = (last_states(model, tried) - own).norm(dim=-1) / own.norm(dim=-1)
            same = bool((apart <= CLOSE.get(str(own.dtype).removeprefix("torch."), CLOSE_HALF)).all())
        except (AttributeError, TypeError, ValueError, RuntimeError, IndexError):
            same = False
    if not same:
        attend_as(model, "sdpa")


def attend_as(model: Any, name: str) -> None:
    """Let a model attend in the way of this name: ours, or one of transformers'."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(NAME, _attend)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    model.set_attn_implementation(name)


def attends_well(model: Any) -> bool:
    """Whether the model has this attention."""
    return bool(model.config._attn_implementation == NAME)


def passes_at_once(model: Any, longest: float) -> bool:
    """Whether sequences of at most so many tokens are passed through the model in one call."""
    return attends_well(model) and longest <= _window(model.config)


def last_states(model: Any, sequences: Packed) -> "torch.Tensor":
    """The final hidden state of every token, [tokens, width]."""
    import torch

    body = model.model if model.base_model is model else model.base_model
    if passes_at_once(model, max(group.shape[1] for group in sequences.laid)):
        states: torch.Tensor = body(
            input_ids=sequences.ids,
            position_ids=sequences.positions,
            attention_mask=sequences.ids.new_zeros(MADE),
            use_cache=False,
            packed=sequences,
        ).last_hidden_state[0]
        return states
    rows = (body(input_ids=sequences.ids[0][group], use_cache=False) for group in sequences.laid)
    return torch.cat([group.last_hidden_state.flatten(0, 1) for group in rows])[sequences.back]


def _window(config: Any) -> float:
    """How far back every layer sees, in tokens."""
    found = [getattr(config.get_text_config(), name, None) for name in WINDOWS]
    return min((window for window in found if window), default=float("inf"))


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
        if attention_mask is None or attention_mask.shape != MADE:
            raise ValueError("a layer that makes its own mask must be passed whole sequences")
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
        attended.append(sdpa_attention_forward(module, *rows, None, **others)[0].flatten(0, 1))
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
