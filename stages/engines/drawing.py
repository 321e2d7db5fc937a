"""Answers to conversations, drawn by an engine.

The one decision: rendering, ends of turn and texts are made in this one place for sampling, judging and inventing.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from stages.artifacts import Message, Model
from stages.engines.engine import Engine, Request, Sampling


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """One answer: its ids, with the end-of-turn id if the model ended it, its text without, and the prompt's ids."""

    prompt_tokens: list[int]
    tokens: list[int]
    text: str
    ended: bool


def draw(
    engine: Engine,
    model: Model,
    conversations: Sequence[Sequence[Message]],
    seeds: Sequence[list[int]],
    sampling: Sampling,
) -> list[list[Drawn]]:
    """For each conversation one answer a seed."""
    from stages.engines.chat import answer_text, prompt_tokens
    from stages.engines.models import end_of_turn, load_tokenizer

    tokenizer, ends = load_tokenizer(model), end_of_turn(model)
    requests = [
        Request(prompt=prompt_tokens(tokenizer, conversation), seeds=own)
        for conversation, own in zip(conversations, seeds, strict=True)
    ]
    return [
        [
            Drawn(
                prompt_tokens=request.prompt,
                tokens=tokens,
                text=answer_text(tokenizer, tokens, ends),
                ended=tokens[-1] in ends,
            )
            for tokens in answers
        ]
        for request, answers in zip(requests, engine.generate(model, requests, sampling), strict=True)
    ]


def draw_each(
    engine: Engine,
    model: Model,
    conversations: Sequence[Sequence[Message]],
    seeds: Sequence[list[int]],
    sampling: Sampling,
) -> list[list[Drawn] | str]:
    """As ``draw``, but where the engine fails each conversation is asked alone once more; what went wrong with it, in
    words, stands in the place of one that fails again.

    Raises:
        Exception: the engine's own, if more than a tenth fail: then it is not the conversations.
    """
    try:
        return [*draw(engine, model, conversations, seeds, sampling)] if conversations else []
    except Exception:
        found: list[list[Drawn] | str] = []
        for conversation, own in zip(conversations, seeds, strict=True):
            try:
                found += draw(engine, model, [conversation], [own], sampling)
            except Exception as wrong:
                found.append(f"{type(wrong).__name__}: {wrong}")
                if sum(isinstance(one, str) for one in found) > max(1, len(conversations) // 10):
                    raise
        return found
