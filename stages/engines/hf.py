"""Generation with transformers, on whatever device there is.

The one decision: a row draws from its own seeded stream, so what it says depends on its prompt and seed and on nothing
that runs beside it. A prompt is passed once and its cache is shared by its samples; rows leave the batch as they end.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stages.artifacts import Model
from stages.engines.engine import Request, Sampling

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, kw_only=True)
class HF:
    """transformers, in this process, on the fastest device that the machine has.

    Args:
        rows: answers that are decoded together.
    """

    rows: int = 64

    def __post_init__(self) -> None:
        if self.rows < 1:
            raise ValueError(f"rows must be at least 1, not {self.rows}")

    def generate(self, model: Model, requests: Sequence[Request], sampling: Sampling) -> list[list[list[int]]]:
        """See Engine.generate."""
        from stages.engines.models import end_of_turn, load_model

        loaded, ends = load_model(model), end_of_turn(model)
        answers: list[list[list[int]]] = [[] for _ in requests]
        order = sorted(range(len(requests)), key=lambda index: (-len(requests[index].prompt), index))
        while order:
            group, order = self._first_batch(order, requests)
            drawn = _decode([requests[index] for index in group], loaded, ends, sampling)
            for index, rows in zip(group, drawn, strict=True):
                answers[index] = rows
        return answers

    def _first_batch(self, order: list[int], requests: Sequence[Request]) -> tuple[list[int], list[int]]:
        """Split off as many requests of like length as fit into ``rows``; one at least."""
        rows, count = 0, 0
        while count < len(order) and (count == 0 or rows + len(requests[order[count]].seeds) <= self.rows):
            rows += len(requests[order[count]].seeds)
            count += 1
        return order[:count], order[count:]


def _decode(requests: list[Request], model: Any, ends: Sequence[int], sampling: Sampling) -> list[list[list[int]]]:
    """Decode all samples of the requests together."""
    import torch

    with torch.inference_mode():
        cache, mask, logits = _prefill([request.prompt for request in requests], model)
        owners = torch.tensor([row for row, request in enumerate(requests) for _ in request.seeds])
        cache.batch_select_indices(owners.to(model.device))
        mask, logits = mask[owners], logits[owners.to(model.device)]
        draws = _uniforms([seed for request in requests for seed in request.seeds], sampling)
        rows: list[list[int]] = [[] for _ in owners]
        alive = list(range(len(rows)))
        for position in range(sampling.max_new_tokens):
            chosen = choose(logits, draws[alive, position], sampling)
            for row, token in zip(alive, chosen.tolist(), strict=True):
                rows[row].append(token)
            keep = [place for place, row in enumerate(alive) if rows[row][-1] not in ends]
            alive = [alive[place] for place in keep]
            if not alive or position + 1 == sampling.max_new_tokens:
                break
            if len(keep) < len(chosen):
                kept = torch.tensor(keep)
                cache.batch_select_indices(kept.to(model.device))
                mask, chosen = mask[kept], chosen[kept.to(model.device)]
            mask = torch.cat([mask, torch.ones_like(mask[:, :1])], dim=1)
            logits = _next_logits(model, chosen[:, None], mask, cache)
    taken = iter(rows)
    return [[next(taken) for _ in request.seeds] for request in requests]


def _prefill(prompts: list[list[int]], model: Any) -> tuple[Any, "torch.Tensor", "torch.Tensor"]:
    """Pass the prompts, padded on the left: the cache, the mask and the logits of the first new token."""
    import torch
    from transformers import DynamicCache

    longest = max(len(prompt) for prompt in prompts)
    input_ids = torch.tensor([[0] * (longest - len(prompt)) + prompt for prompt in prompts])
    mask = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    cache = DynamicCache(config=model.config)
    return cache, mask, _next_logits(model, input_ids.to(model.device), mask, cache)


def _next_logits(model: Any, input_ids: "torch.Tensor", mask: "torch.Tensor", cache: Any) -> "torch.Tensor":
    positions = (mask.cumsum(-1) - 1).clamp(min=0)[:, -input_ids.shape[1] :]
    logits: torch.Tensor = model(
        input_ids=input_ids,
        attention_mask=mask.to(input_ids.device),
        position_ids=positions.to(input_ids.device),
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,
    ).logits[:, -1]
    return logits


def _uniforms(seeds: list[int], sampling: Sampling) -> "torch.Tensor":
    """[rows, new tokens] of numbers in [0, 1): each row from its own seed."""
    import numpy as np
    import torch

    rows = [np.random.Generator(np.random.Philox(seed)).random(sampling.max_new_tokens) for seed in seeds]
    return torch.tensor(np.stack(rows))


def choose(logits: "torch.Tensor", draws: "torch.Tensor", sampling: Sampling) -> "torch.Tensor":
    """The next token of each row by inverting the cumulative distribution at the row's draw.

    Args:
        logits: [rows, vocabulary].
        draws: [rows], in [0, 1).

    Returns:
        [rows], token ids. With ``top_p`` < 1 only the smallest set of most likely tokens that holds it is drawn from.
    """
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
