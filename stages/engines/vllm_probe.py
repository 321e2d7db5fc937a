"""Whether vLLM really computes with the weights that were swapped into it (vLLM issue 32718: it may serve stale ones).

The one decision: it is compared with what the old weights said, not with a tolerance alone. A round's update may be
smaller than rounding; where the two cannot be told apart, the swap counts as failed.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stages.artifacts import Model
from stages.engines.models import load_aside

LENGTH = 64
NEAR = 0.05
"""Mean absolute difference of a token's log-prob, in nats, that rounding in bfloat16 may come to."""


def alike(path: str, model: Model) -> bool:
    """Whether the two differ in their weights alone: only then can the one's take the place of the other's."""
    first, second = (json.loads((folder / "config.json").read_text("utf-8")) for folder in (Path(path), model.path))
    written = {"_name_or_path", "transformers_version"}
    return all(first.get(name) == second.get(name) for name in (first.keys() | second.keys()) - written)


def says_the_same(now: Sequence[float], model: Model, before: Sequence[float]) -> bool:
    """Whether vLLM's log-probs are those of the stored model, and no longer those from before."""
    import torch

    loaded = load_aside(model, "cpu")
    tokens = torch.tensor([_tokens(loaded.config.vocab_size)])
    with torch.inference_mode():
        logits = loaded(input_ids=tokens).logits[0, :-1].float()
    stored = logits.log_softmax(-1).gather(-1, tokens[0, 1:, None])[:, 0].tolist()
    return _distance(now, stored) < min(NEAR, _distance(before, stored) / 2)


def log_probs_of(llm: Any) -> list[float]:
    """vLLM's log-probs of the fixed tokens, in nats."""
    from vllm import SamplingParams

    tokens = _tokens(llm.model_config.get_vocab_size())
    asked = SamplingParams(temperature=0, max_tokens=1, prompt_logprobs=0, detokenize=False)
    [output] = llm.generate([{"prompt_token_ids": tokens}], [asked], use_tqdm=False)
    return [said[token].logprob for token, said in zip(tokens[1:], output.prompt_logprobs[1:], strict=True)]


def _tokens(vocabulary: int) -> list[int]:
    return [(7919 * place * place + 101 * place + 13) % vocabulary for place in range(LENGTH)]


def _distance(first: Sequence[float], second: Sequence[float]) -> float:
    return sum(abs(a - b) for a, b in zip(first, second, strict=True)) / len(first)
