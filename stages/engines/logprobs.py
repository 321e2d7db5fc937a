"""log π(y|x): the one function that serves scoring, reference and training.

The one decision: a sequence's log-prob is the sum over its answer's tokens, the end-of-turn id among them, in float32,
with logits computed only where an answer's token is predicted and never for the whole vocabulary of a whole batch.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

CHUNK = 512
"""Answer tokens whose logits exist at the same time."""


def answer_logprobs(model: Any, input_ids: "torch.Tensor", answer_mask: "torch.Tensor") -> "torch.Tensor":
    """Sum of the answer tokens' log-probs of each row, in nats.

    Args:
        model: a causal language model of transformers. Rows are padded on the right, where a causal model does not see
            the padding, so no attention mask is needed.
        input_ids: [rows, tokens], prompt then answer then padding.
        answer_mask: [rows, tokens], 1 where the token belongs to the answer.

    Returns:
        [rows], float32, differentiable if the model's parameters are. The logits at position t - 1 score token t.
    """
    import torch
    from torch.utils.checkpoint import checkpoint

    hidden = model.base_model(input_ids=input_ids, use_cache=False).last_hidden_state[:, :-1]
    wanted = answer_mask[:, 1:].bool()
    hidden, targets, rows = hidden[wanted], input_ids[:, 1:][wanted], wanted.nonzero()[:, 0]
    head = model.get_output_embeddings()
    scale, cap = _logit_rule(model.config.get_text_config())

    def chunk_logprobs(hidden: "torch.Tensor", targets: "torch.Tensor") -> "torch.Tensor":
        logits = head(hidden).float() * scale
        if cap is not None:
            logits = torch.tanh(logits / cap) * cap
        logprobs: torch.Tensor = logits.gather(-1, targets[:, None])[:, 0] - logits.logsumexp(-1)
        return logprobs

    pieces = []
    for first in range(0, len(targets), CHUNK):
        piece = hidden[first : first + CHUNK], targets[first : first + CHUNK]
        pieces.append(
            checkpoint(chunk_logprobs, *piece, use_reentrant=False)
            if torch.is_grad_enabled()
            else chunk_logprobs(*piece)
        )
    sums = torch.zeros(len(input_ids), dtype=torch.float32, device=input_ids.device)
    summed: torch.Tensor = sums.index_add(0, rows, torch.cat(pieces))
    return summed


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
