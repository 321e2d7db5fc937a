"""log π(y|x): the one function that serves scoring, reference and training.

The one decision: a sequence's log-prob is the sum over its answer's tokens, the end-of-turn id among them, in float32,
with logits computed only where an answer's token is predicted and never for the whole vocabulary of a whole batch.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakSet

from stages.engines.packed import LAID, Packed, Sequenced, batches, packed
from stages.progress import count_tokens

if TYPE_CHECKING:
    import torch

_checked: "WeakSet[Any]" = WeakSet()
CHUNKS = {"cpu": 128}
CHUNK = 1024
"""Answer tokens whose logits exist at the same time; on a CPU so few that they stay in its cache."""


class AnswerStates(NamedTuple):
    """The final hidden states from which answers' tokens are predicted: [tokens, width], the tokens' ids and rows."""

    hidden: "torch.Tensor"
    targets: "torch.Tensor"
    rows: "torch.Tensor"


def answer_logprobs(model: Any, sequences: Packed) -> "torch.Tensor":
    """Sum of the answer tokens' log-probs of each sequence, in nats, [sequences], float32.

    Differentiable if the model's parameters are.
    """
    states = answer_states(model, sequences)
    return row_sums(token_logprobs(model, states), states, len(sequences.lengths))


def answer_states(model: Any, sequences: Packed) -> AnswerStates:
    """One pass of the model's body; the state of a token predicts the token after it."""
    from stages.engines.attention import last_states

    count_tokens(sequences.ids.numel())
    hidden = last_states(model, sequences).index_select(0, sequences.before)
    return AnswerStates(hidden=hidden, targets=sequences.targets, rows=sequences.rows)


def token_logprobs(model: Any, states: AnswerStates) -> "torch.Tensor":
    """log π of every answer token, [tokens], by few tokens' logits at a time unless processes are in step."""
    import torch
    from torch.nn.functional import cross_entropy
    from torch.utils.checkpoint import checkpoint

    def logprobs(hidden: "torch.Tensor", targets: "torch.Tensor") -> "torch.Tensor":
        return -cross_entropy(logits_of(model, hidden), targets, reduction="none")

    parts = [states[:2]] if in_step(model) else pieces(*states[:2])
    found = [
        checkpoint(logprobs, *part, use_reentrant=False) if torch.is_grad_enabled() else logprobs(*part)
        for part in parts
    ]
    return torch.cat(found) if found else states.hidden.new_zeros(0, dtype=torch.float32)


def in_step(model: Any) -> bool:
    """Whether processes gather a layer's weights whenever it is called (FSDP2, ZeRO-3), all of them equally often."""
    from torch.distributed.fsdp import FSDPModule

    return isinstance(model, FSDPModule) or any(hasattr(held, "ds_id") for held in model.parameters())


def logits_of(model: Any, hidden: "torch.Tensor") -> "torch.Tensor":
    """The logits at the given states, [tokens, vocabulary], float32, by the architecture's own rule."""
    import torch

    scale, cap = _logit_rule(model.config.get_text_config())
    logits: torch.Tensor = model.get_output_embeddings()(hidden).float()
    logits = logits if scale == 1 else logits * scale
    return logits if cap is None else torch.tanh(logits / cap) * cap


def check_head(model: Any) -> None:
    """
    Raises:
        ValueError: the model does more to its last states than we know, so that log-probs would be silently wrong, or
            its logits are not finite. Each model is tried once.
    """
    if model in _checked:
        return
    import torch

    from stages.engines.attention import last_states

    tried = packed([([3, 4], [5, 6])]).to(model.device)
    with torch.no_grad():
        ours, theirs = logits_of(model, last_states(model, tried)), model(input_ids=tried.ids).logits[0].float()
    if not theirs.isfinite().all():
        raise ValueError(f"{model.config.name_or_path}: its logits are not finite: weights or activations overflow")
    if not torch.allclose(ours, theirs, rtol=0.05, atol=0.02 * float(theirs.abs().max())):
        raise ValueError(f"the head of {model.config.model_type} is not supported yet: its logits are not ours")
    _checked.add(model)


def pieces(*tensors: "torch.Tensor") -> Iterator[tuple["torch.Tensor", ...]]:
    """The same rows of each tensor, CHUNK at a time."""
    size = CHUNKS.get(tensors[0].device.type, CHUNK)
    for first in range(0, len(tensors[0]), size):
        yield tuple(tensor[first : first + size] for tensor in tensors)


def row_sums(values: "torch.Tensor", states: AnswerStates, rows: int) -> "torch.Tensor":
    """Values of answer tokens summed by row, [rows], float32."""
    import torch

    sums = torch.zeros(rows, dtype=torch.float32, device=values.device)
    return sums.index_add(0, states.rows, values)


def score_sequences(model: Any, sequences: Sequence[Sequenced], tokens: int) -> Iterator[tuple[int, float]]:
    """Log-probs of (prompt ids, answer ids), longest first, at most so many tokens at a time.

    Yields (index, sum in nats) in the order in which they are done.
    """
    import torch

    for batch, together in passes(model, sequences, tokens):
        with torch.inference_mode():
            sums = answer_logprobs(model, together).tolist()
        yield from zip(batch, sums, strict=True)


def passes(model: Any, sequences: Sequence[Sequenced], tokens: int) -> Iterator[tuple[list[int], Packed]]:
    """The sequences in batches of at most so many tokens, the longest first: their indices, and they packed."""
    from stages.engines.attention import attends_well

    check_head(model)
    for batch in batches(sequences, tokens if attends_well(model) else tokens // LAID):
        yield batch, packed([sequences[index] for index in batch]).to(model.device)


def _logit_rule(config: Any) -> tuple[float, float | None]:
    """How an architecture turns its head's output into logits: a factor and a soft cap.

    Raises:
        ValueError: it has a rule that is not known here, so log-probs would be silently wrong.
    """
    for name in ("output_multiplier", "lm_head_multiplier"):
        if getattr(config, name, None) is not None:
            raise ValueError(f"{config.model_type} scales its logits by {name}, which is not supported yet")
    scale = getattr(config, "logit_scale", None)
    if getattr(config, "logits_scaling", None) is not None:
        scale = 1 / config.logits_scaling
    return 1.0 if scale is None else scale, getattr(config, "final_logit_softcapping", None)
