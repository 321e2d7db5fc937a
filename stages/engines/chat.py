"""From conversations to token ids, once and in one way for sampling, scoring, judging and training.

The one decision: an answer's ids are what the model itself would have generated: the text, then the end-of-turn id
once, and nothing of what a template prints after it.
"""

from collections.abc import Sequence
from typing import Any

from stages.artifacts import Message


def prompt_tokens(tokenizer: Any, prompt: Sequence[Message]) -> list[int]:
    """The ids of the conversation up to where the answer begins.

    Raises:
        ValueError: the template refuses the conversation, such as two turns of the user in a row.
    """
    return _rendered(tokenizer, prompt, add_generation_prompt=True)


def answer_tokens(
    tokenizer: Any, prompt: Sequence[Message], answer: Sequence[Message], ends: Sequence[int]
) -> list[int]:
    """The ids of a written answer with its end-of-turn id.

    Raises:
        ValueError: the template renders the prompt differently when an answer follows, or the answer's own text holds
            an end-of-turn token.
    """
    before = prompt_tokens(tokenizer, prompt)
    whole = _rendered(tokenizer, [*prompt, *answer], add_generation_prompt=False)
    if whole[: len(before)] != before:
        raise ValueError("the chat template renders the prompt differently when an answer follows it")
    tokens = whole[len(before) :]
    found = [index for index, token in enumerate(tokens) if token in ends]
    if len(found) > 1:
        raise ValueError("the answer's text holds the end-of-turn token")
    return tokens[: found[0] + 1] if found else [*tokens, ends[0]]


def _rendered(tokenizer: Any, turns: Sequence[Message], add_generation_prompt: bool) -> list[int]:
    from jinja2 import TemplateError

    try:
        tokens: list[int] = tokenizer.apply_chat_template(
            list(turns), add_generation_prompt=add_generation_prompt, tokenize=True, return_dict=True
        )["input_ids"]
    except TemplateError as refused:
        begins = turns[0]["content"][:60]
        raise ValueError(f"the chat template refuses the conversation that begins {begins!r}: {refused}") from refused
    return tokens


def answer_text(tokenizer: Any, tokens: Sequence[int], ends: Sequence[int]) -> str:
    """The text of generated ids, without the end-of-turn token."""
    shown = tokens[:-1] if tokens and tokens[-1] in ends else tokens
    text: str = tokenizer.decode(list(shown), skip_special_tokens=True)
    return text
