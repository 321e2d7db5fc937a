"""A text inside another's prompt: what is judged, shown or imitated.

The one decision: a quoted text can neither end its own quotation nor speak as the chat template: its delimiters and the
tokenizer's control tokens are broken apart, so that only the judge's own words can say a score.
"""

import re
from collections.abc import Sequence
from typing import Any

from stages.artifacts import Message

TAGS = ("question", "response", "first", "second", "judgement")
JOINER = "\u2060"
"""A word joiner: invisible, and no tokenizer takes a delimiter with it for the delimiter."""


def filled(template: str, tokenizer: Any, **texts: str) -> list[Message]:
    """The template as a user's turn, each ``{name}`` replaced by that text, quoted for this tokenizer."""
    return fill(template, **{name: without_control(text, tokenizer) for name, text in texts.items()})


def fill(template: str, **texts: str) -> list[Message]:
    """The template as a user's turn, each ``{name}`` replaced by that text with its delimiters broken apart; all at
    once, so that a text which holds ``{name}`` stays what it is."""
    slots = "|".join(map(re.escape, texts))
    content = re.sub(rf"\{{({slots})\}}", lambda match: without_delimiters(texts[match[1]]), template)
    return [{"role": "user", "content": content}]


def without_control(text: str, tokenizer: Any) -> str:
    """The text with the tokenizer's control tokens, and its template's marks between turns, broken apart."""
    control = {*tokenizer.all_special_tokens, *tokenizer.get_added_vocab(), *turn_marks(tokenizer)}
    for token in sorted(control, key=lambda token: (-len(token), token)):
        if len(token) > 1 and token.strip() == token:
            text = text.replace(token, token[0] + JOINER + token[1:])
    return text


def turn_marks(tokenizer: Any) -> set[str]:
    """What the chat template writes between two turns, word by word: on some models that is ordinary text."""
    texts = ["\ue000", "\ue001", "\ue002"]
    roles = ["user", "assistant", "user"]
    turns = [{"role": role, "content": text} for role, text in zip(roles, texts, strict=True)]
    rendered = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    pieces = re.split("|".join(texts), rendered)[1:]
    return {word for piece in pieces for word in piece.split()}


def without_delimiters(text: str) -> str:
    """The text with anything that looks like one of our delimiters broken apart."""
    return re.sub(rf"<(?=\s*(?:/\s*)?(?:{'|'.join(TAGS)})\b)", "<" + JOINER, text, flags=re.IGNORECASE)


def transcript(prompt: Sequence[Message]) -> str:
    """A conversation as one text: a single question as it is, several turns each with its speaker."""
    if len(prompt) == 1:
        return prompt[0]["content"]
    return "\n\n".join(f"{turn['role'].capitalize()}: {turn['content']}" for turn in prompt)


def check_template(template: str, *slots: str) -> None:
    """
    Raises:
        ValueError: the template does not hold each slot exactly once, or does not delimit it by tags of the same name.
    """
    for slot in slots:
        if template.count(f"{{{slot}}}") != 1:
            raise ValueError(f"the prompt must hold {{{slot}}} once, not {template.count(f'{{{slot}}}')} times")
        if not re.search(rf"<{slot}>\s*\{{{slot}\}}\s*</{slot}>", template):
            raise ValueError(f"the prompt must delimit it: <{slot}>{{{slot}}}</{slot}>")
