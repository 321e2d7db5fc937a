"""log π(y|x): the one function that serves scoring, reference and training.

The one decision: a sequence's log-prob is the sum over its answer's tokens, the end-of-turn id among them, in float32,
with logits computed only where an answer's token is predicted and never for the whole vocabulary of a whole batch.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import torch

CHUNK = 512
"""Answer tokens whose logits exist at the same time."""


class AnswerStates(NamedTuple):
    """The final hidden states from which answers' tokens are predicted: [tokens, width], the tokens' ids and rows."""

    hidden: "torch.Tensor"
    targets: "torch.Tensor"
    rows: "torch.Tensor"


def answer_logprobs(model: Any, input_ids: "torch.Tensor", answer_mask: "torch.Tensor") -> "torch.Tensor":
    """Sum of the answer tokens' log-probs of each row, in nats, [rows], float32.

    Differentiable if the model's parameters are. See answer_states for the arguments.
    """
    states = answer_states(model, input_ids, answer_mask)
    return row_sums(token_logprobs(model, states), states, len(input_ids))


def answer_states(model: Any, input_ids: "torch.Tensor", answer_mask: "torch.Tensor") -> AnswerStates:
    """One pass of the model's body; the states at position t - 1 predict token t.

    Args:
        model: a causal language model of transformers. Rows are padded on the right, where a causal model does not see
            the padding, so no attention mask is needed.
        input_ids: [rows, tokens], prompt then answer then padding.
        answer_mask: [rows, tokens], 1 where the token belongs to the answer.
    """
    hidden = model.base_model(input_ids=input_ids, use_cache=False).last_hidden_state[:, :-1]
    wanted = answer_mask[:, 1:].bool()
    return AnswerStates(hidden=hidden[wanted], targets=input_ids[:, 1:][wanted], rows=wanted.nonzero()[:, 0])


def token_logprobs(model: Any, states: AnswerStates) -> "torch.Tensor":
    """log π of every answer token, [tokens], with few tokens' logits in memory at a time."""
    import torch
    from torch.utils.checkpoint import checkpoint

    def logprobs(hidden: "torch.Tensor", targets: "torch.Tensor") -> "torch.Tensor":
        logits = logits_of(model, hidden)
        found: torch.Tensor = logits.gather(-1, targets[:, None])[:, 0] - logits.logsumexp(-1)
        return found

    found = [
        checkpoint(logprobs, *piece, use_reentrant=False) if torch.is_grad_enabled() else logprobs(*piece)
        for piece in pieces(states.hidden, states.targets)
    ]
    return torch.cat(found) if found else states.hidden.new_zeros(0, dtype=torch.float32)


def logits_of(model: Any, hidden: "torch.Tensor") -> "torch.Tensor":
    """The logits at the given states, [tokens, vocabulary], float32, by the architecture's own rule."""
    import torch

    scale, cap = _logit_rule(model.config.get_text_config())
    logits: torch.Tensor = model.get_output_embeddings()(hidden).float() * scale
    return logits if cap is None else torch.tanh(logits / cap) * cap


def pieces(*tensors: "torch.Tensor") -> Iterator[tuple["torch.Tensor", ...]]:
    """The same rows of each tensor, CHUNK at a time."""
    for first in range(0, len(tensors[0]), CHUNK):
        yield tuple(tensor[first : first + CHUNK] for tensor in tensors)


def row_sums(values: "torch.Tensor", states: AnswerStates, rows: int) -> "torch.Tensor":
    """Values of answer tokens summed by row, [rows], float32."""
    import torch

    sums = torch.zeros(rows, dtype=torch.float32, device=values.device)
    return sums.index_add(0, states.rows, values)


def score_sequences(
    model: Any, sequences: Sequence[tuple[list[int], list[int]]], tokens: int
) -> Iterator[tuple[int, float]]:
    """Log-probs of (prompt ids, answer ids), longest first, in batches of at most so many tokens with their padding.

    Yields (index, sum in nats) in the order in which they are done.
    """
    import torch

    for batch in batches([len(prompt) + len(answer) for prompt, answer in sequences], tokens):
        input_ids, answer_mask = padded([sequences[index] for index in batch], model.device)
        with torch.inference_mode():
            sums = answer_logprobs(model, input_ids, answer_mask).tolist()
        yield from zip(batch, sums, strict=True)


def batches(lengths: Sequence[int], tokens: int) -> Iterator[list[int]]:
    """Indices grouped by similar length, longest first, each group at most ``tokens`` when padded (one at least)."""
    group: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda index: (-lengths[index], index)):
        if group and lengths[group[0]] * (len(group) + 1) > tokens:
            yield group
            group = []
        group.append(index)
    if group:
        yield group


def padded(sequences: Sequence[tuple[list[int], list[int]]], device: Any) -> tuple["torch.Tensor", "torch.Tensor"]:
    """Ids and answer mask of (prompt ids, answer ids), padded on the right: two tensors of [rows, tokens]."""
    import torch

    longest = max(len(prompt) + len(answer) for prompt, answer in sequences)
    input_ids = torch.zeros((len(sequences), longest), dtype=torch.long)
    answer_mask = torch.zeros((len(sequences), longest), dtype=torch.long)
    for row, (prompt, answer) in enumerate(sequences):
        end = len(prompt) + len(answer)
        input_ids[row, :end] = torch.tensor(prompt + answer)
        answer_mask[row, len(prompt) : end] = 1
    return input_ids.to(device), answer_mask.to(device)


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
