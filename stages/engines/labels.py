"""How likely the next token is one of some labels: a judgement from one forward pass, with nothing to parse.

The one decision: a label is a set of single tokens (Yes, yes, with and without a space) whose probabilities are summed
in log space. A label that is no single token is refused and never cut to its first piece.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from stages.artifacts import Message, Model

if TYPE_CHECKING:
    import torch


def label_tokens(tokenizer: Any, variants: Sequence[str]) -> list[int]:
    """The ids of those variants that are one token.

    Raises:
        ValueError: none is.
    """
    split = [tokenizer(variant, add_special_tokens=False).input_ids for variant in variants]
    tokens = sorted({ids[0] for ids in split if len(ids) == 1})
    if not tokens:
        raise ValueError(f"none of the label's variants {list(variants)} is a single token of this model")
    return tokens


def label_logprobs(
    judge: Model,
    conversations: Sequence[Sequence[Message]],
    labels: Sequence[Sequence[str]],
    max_tokens: int,
    batch_tokens: int,
) -> list[list[float] | None]:
    """For each conversation log P(label) of each label as the first token of the answer, in nats; None if the
    conversation is longer than ``max_tokens``.

    Raises:
        ValueError: a label is no single token of the model, or two labels share one.
    """
    import torch

    from stages.engines.chat import prompt_tokens
    from stages.engines.logprobs import batches
    from stages.engines.models import load_model, load_tokenizer

    model, tokenizer = load_model(judge), load_tokenizer(judge)
    tokens = [label_tokens(tokenizer, variants) for variants in labels]
    if len({token for own in tokens for token in own}) < sum(map(len, tokens)):
        raise ValueError(f"the labels {[list(variants) for variants in labels]} share a token of this model")
    prompts = [prompt_tokens(tokenizer, conversation) for conversation in conversations]
    fits = [place for place, prompt in enumerate(prompts) if len(prompt) <= max_tokens]
    found: list[list[float] | None] = [None] * len(prompts)
    for batch in batches([len(prompts[place]) for place in fits], batch_tokens):
        places = [fits[index] for index in batch]
        with torch.inference_mode():
            logprobs = next_logprobs(model, [prompts[place] for place in places], tokens)
        for place, row in zip(places, logprobs.tolist(), strict=True):
            found[place] = row
    return found


def next_logprobs(model: Any, prompts: Sequence[list[int]], labels: Sequence[list[int]]) -> "torch.Tensor":
    """log P(label) after each prompt, [prompts, labels], in nats; a label's tokens are summed by log-sum-exp."""
    import torch

    from stages.engines.logprobs import logits_of

    input_ids = torch.zeros((len(prompts), max(map(len, prompts))), dtype=torch.long)
    for row, prompt in enumerate(prompts):
        input_ids[row, : len(prompt)] = torch.tensor(prompt)
    last = torch.tensor([len(prompt) - 1 for prompt in prompts])
    states = model.base_model(input_ids=input_ids.to(model.device), use_cache=False).last_hidden_state
    logprobs = logits_of(model, states[torch.arange(len(prompts)), last]).log_softmax(-1)
    return torch.stack([logprobs[:, tokens].logsumexp(-1) for tokens in labels], dim=-1)
