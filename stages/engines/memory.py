"""How much memory models take on the device that they run on, in bytes.

The one decision: what is certain (weights, gradients, the optimizer's moments) and what is estimated (activations, keys
and values) are added up from the model's shape alone, so that it can be done before there is a model.

Activations are what autograd keeps of a layer of Llama's kind with fused attention, counted by hand in numbers a token:
each norm keeps its input, its scaled input and its output (3·width, twice); attention queries, keys and values laid out
for every head, its output and that put back (5·width); the feed-forward layer its gate, activated gate, product and
upward projection (4·inner). That follows Korthikanti et al. 2022 (arXiv 2205.05198), without dropout and the matrix of
attention, which no fused kernel keeps.
"""

from collections.abc import Sequence
from dataclasses import replace
from math import nan
from typing import Any

from stages.engines.packed import LAID
from stages.foreseen import WIDTHS, Foreseen, Size

FLOAT = 4
TRAINED = 16
"""Bytes of a weight that is trained with AdamW in float32: itself, its gradient and two moments."""
PROCESS = 0.5e9
"""What the process holds before any model: Python, torch and its relatives (measured 0.53 GB on a CPU; of a GPU's
context the same is assumed)."""
CHUNK = 1024
"""Answer tokens whose logits exist at the same time, see stages/engines/logprobs.py; fewer on a CPU."""


def passing(model: Size, tokens: float) -> float:
    """Beside the weights, to pass so many tokens at once without gradients: a layer's states, and a chunk's logits."""
    states = tokens * (LAID * 4 * model.width + 3 * model.inner)
    return PROCESS + _bytes_each(model) * states + 2 * FLOAT * min(CHUNK, tokens) * model.vocabulary


def decoding(model: Size, rows: float, length: float) -> float:
    """Beside the weights, to decode so many answers together: keys and values of prompts and answers, and logits."""
    cache = rows * length * 2 * model.layers * model.keys
    return PROCESS + _bytes_each(model) * cache + 2 * FLOAT * rows * model.vocabulary


def training(model: Size, tokens: float, dtype: str, checkpointing: bool, logits: float) -> float:
    """Beside weights, gradients and moments, the activations of a training on so many tokens at once. Norms compute in
    float32 and the rest in ``dtype``; with checkpointing each layer keeps its input, and one layer at a time all of it.
    ``logits`` of so many tokens are there at once.
    """
    layer = FLOAT * 6 * model.width + WIDTHS[dtype] * (5 * model.width + 4 * model.inner)
    kept = WIDTHS[dtype] * model.layers * model.width + layer if checkpointing else model.layers * layer
    return PROCESS + tokens * kept + 3 * FLOAT * logits * model.vocabulary


def adapter_weights(model: Size, r: int, targets: Sequence[str] | None) -> float:
    """Weights of a low-rank adapter: r columns and rows for each linear layer of Llama's kind that it adapts, or for
    all but the head. nan if one of the names is none of these."""
    ends = {
        "q_proj": 2 * model.width,
        "k_proj": model.width + model.keys,
        "v_proj": model.width + model.keys,
        "o_proj": 2 * model.width,
        "gate_proj": model.width + model.inner,
        "up_proj": model.width + model.inner,
        "down_proj": model.inner + model.width,
    }
    return r * model.layers * sum(ends.get(target, nan) for target in targets or ends)


def four_bits(model: Size) -> float:
    """A model whose linear layers are held in four bits, with 8 bits for every 64 of their weights and 32 for every 256
    of those (QLoRA, arXiv 2305.14314, quantised twice). The embedding stays in two bytes, and so does a head of its
    own, which is left out here: it is certain that no less is needed."""
    outside = model.vocabulary * model.width
    return 2 * outside + (model.parameters - outside) * (4 + 8 / 64 + 32 / (64 * 256)) / 8


def generated(engine: Any, model: Size, *, rows: float, prompt: float, answer: float, size: Size) -> Foreseen:
    """So many answers of at most so many tokens to prompts of so many. An engine that does not tell its memory takes
    nobody knows what, perhaps elsewhere.

    Args:
        size: of the artifact that comes of it.
    """
    tell = getattr(engine, "memory_of", None)
    memory, least, devices = tell(model, prompt + answer) if tell else (nan, nan, 1)
    tokens = rows * answer
    told = Foreseen(size=size, tokens=tokens, at_most=True, work=tokens * model.parameters)
    return replace(told, memory=memory, least=least, devices=devices)


def _bytes_each(model: Size) -> float:
    return model.bytes / model.parameters
