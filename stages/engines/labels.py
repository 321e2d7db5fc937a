"""How likely the next token is one of some labels: a judgement from one forward pass, with nothing to parse.

The one decision: a label is a set of single tokens (Yes, yes, with and without a space) whose probabilities are summed
in log space. A label that is no single token is refused and never cut to its first piece, and a judge whose next token
is hardly ever a label has said none.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from stages.artifacts import Message, Model

if TYPE_CHECKING:
    import torch


def label_tokens(judge: Model, labels: Sequence[Sequence[str]]) -> list[list[int]]:
    """For each label the ids of those of its spellings that are one token where an answer of this model begins.

    What a token is there depends on what the chat template ends with, so each spelling is rendered as an answer.

    Raises:
        ValueError: no spelling of a label is one token, or two labels share one.
    """
    found = [sorted({token for spelling in spellings for token in _single(judge, spelling)}) for spellings in labels]
    for spellings, tokens in zip(labels, found, strict=True):
        if not tokens:
            raise ValueError(f"none of the label's variants {list(spellings)} is a single token of this model")
    if len({token for own in found for token in own}) < sum(map(len, found)):
        raise ValueError(f"the labels {[list(spellings) for spellings in labels]} share a token of this model")
    return found


def _single(judge: Model, spelling: str) -> list[int]:
    from stages.engines.chat import answer_tokens
    from stages.engines.models import end_of_turn, load_tokenizer

    prompt, answer = ([{"role": role, "content": text}] for role, text in (("user", "?"), ("assistant", spelling)))
    *tokens, _ = answer_tokens(load_tokenizer(judge), prompt, answer, end_of_turn(judge))
    return tokens if len(tokens) == 1 else []


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
    from stages.engines.logprobs import check_head
    from stages.engines.models import load_model, load_tokenizer
    from stages.engines.packed import batches

    model, tokenizer = load_model(judge), load_tokenizer(judge)
    tokens = label_tokens(judge, labels)
    prompts = [prompt_tokens(tokenizer, conversation) for conversation in conversations]
    fits = [place for place, prompt in enumerate(prompts) if len(prompt) <= max_tokens]
    found: list[list[float] | None] = [None] * len(prompts)
    check_head(model)
    for batch in batches([(prompts[place], ()) for place in fits], batch_tokens):
        places = [fits[index] for index in batch]
        with torch.inference_mode():
            logprobs = next_logprobs(model, [prompts[place] for place in places], tokens)
        for place, row in zip(places, logprobs.tolist(), strict=True):
            found[place] = row
    return found


def next_logprobs(model: Any, prompts: Sequence[list[int]], labels: Sequence[list[int]]) -> "torch.Tensor":
    """log P(label) after each prompt, [prompts, labels], in nats; a label's tokens are summed by log-sum-exp."""
    import torch

    from stages.engines.logprobs import answer_states, logits_of
    from stages.engines.packed import packed

    asked = packed([(prompt, labels[0][:1]) for prompt in prompts]).to(model.device)
    logprobs = logits_of(model, answer_states(model, asked).hidden).log_softmax(-1)
    return torch.stack([logprobs[:, tokens].logsumexp(-1) for tokens in labels], dim=-1)
