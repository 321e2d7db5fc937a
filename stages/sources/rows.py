"""From anybody's columns to ours: prompts and preference pairs out of raw rows.

The one decision: a row that does not say what the configuration promises is an error that names file, row and what was
expected. Nothing is guessed and nothing is left out in silence.
"""

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

from stages.artifacts import Message, Row
from stages.seeds import derive

Content = Literal["prompts", "pairs", "demonstrations", "answers"]
ANSWERS: Mapping[Content, tuple[str, ...]] = {
    "prompts": (),
    "pairs": ("chosen", "rejected"),
    "demonstrations": ("completion",),
    "answers": ("completion",),
}
Numbered = tuple[int, Row]
ROLES = ("system", "user", "assistant")
HUMAN = {"source": "offline", "label_source": "outside"}


def check_rows(content: Content, columns: Mapping[str, str], skip: int, limit: int | None) -> None:
    """
    Raises:
        ValueError: a column of ours is mapped that does not exist, or one that is needed is not mapped; or no row could
            ever be selected.
    """
    if skip < 0 or (limit is not None and limit < 1):
        raise ValueError(f"skip must be at least 0 and limit at least 1, not {skip} and {limit}")
    needed = {"prompt", *ANSWERS[content]}
    for name in columns:
        if name not in needed | {"prompt_id"}:
            raise ValueError(f"columns: {content} have no {name!r}; there is {', '.join(sorted(needed))} and prompt_id")
    for name in sorted(needed - set(columns)):
        raise ValueError(f"columns: say which column holds the {name!r} of {content}, such as {{{name}: {name}}}")


def selected(rows: Iterable[Numbered], skip: int, limit: int | None, shuffle: int | None) -> list[Numbered]:
    """The rows, shuffled by a seed if there is one, without the first ``skip``, at most ``limit``."""
    numbered = list(rows)
    if shuffle is not None:
        random.Random(derive("shuffle", shuffle)).shuffle(numbered)
    return numbered[skip : None if limit is None else skip + limit]


def converted(rows: Sequence[Numbered], columns: Mapping[str, str], where: str) -> Iterator[Row]:
    """Rows in our columns, with an id for each: the mapped one, or the row number.

    Raises:
        ValueError: there is no row, a column is missing, has the wrong shape, or an id occurs twice.
    """
    if not rows:
        raise ValueError(f"{where}: no row is left after skip and limit")
    seen: set[str] = set()
    for number, row in rows:
        place = f"{where}, row {number}"
        for column in columns.values():
            if column not in row:
                there = ", ".join(sorted(map(str, row)))
                raise ValueError(f"{place}: no column {column!r}; there is {shortened(there)}")
        prompt_id = identifier(row[columns["prompt_id"]], place) if "prompt_id" in columns else str(number)
        if prompt_id in seen:
            raise ValueError(f"{place}: the id {shortened(prompt_id)!r} occurs twice")
        seen.add(prompt_id)
        prompt = _prompt(row[columns["prompt"]], f"{place}, {columns['prompt']}")
        answers = {
            side: [_answer(row[columns[side]], prompt, f"{place}, {columns[side]}")]
            for side in ("chosen", "rejected", "completion")
            if side in columns
        }
        yield {"prompt_id": prompt_id, "prompt": prompt, **answers, **(HUMAN if "chosen" in answers else {})}


def identifier(value: Any, where: str) -> str:
    """An id as text.

    Raises:
        ValueError: it is empty, or neither text nor a number.
    """
    if isinstance(value, bool) or not isinstance(value, str | int | float) or not str(value).strip():
        raise ValueError(f"{where}: expected text or a number as id, got {_short(value)}")
    return written(str(value), where)


def written(value: Any, where: str) -> str:
    """A text that can be written as UTF-8.

    Raises:
        ValueError: it is no text, or half of a character stands in it alone (a surrogate).
    """
    if not isinstance(value, str):
        raise ValueError(f"{where}: expected text, got {_short(value)}")
    try:
        value.encode()
    except UnicodeEncodeError as wrong:
        raise ValueError(f"{where}: character {wrong.start} is half of one (a lone surrogate)") from wrong
    return value


def _prompt(value: Any, where: str) -> list[Message]:
    """A question as text, or a conversation that ends with the user."""
    if isinstance(value, str) and value.strip():
        return [{"role": "user", "content": written(value, where)}]
    messages = _messages(value, where, "text or a list of {role, content}")
    if messages[-1]["role"] != "user":
        raise ValueError(f"{where}: expected a conversation that ends with the user, not the {messages[-1]['role']}")
    if not messages[-1]["content"].strip():
        raise ValueError(f"{where}: the user says nothing but white space")
    return messages


def _answer(value: Any, prompt: list[Message], where: str) -> Message:
    """An answer as text, or as the last, assistant's turn of a conversation whose other turns are the prompt."""
    if isinstance(value, str):
        value = [{"role": "assistant", "content": value}]
    *before, last = _messages(value, where, "text or a conversation that ends with the assistant")
    if before and before != prompt:
        raise ValueError(f"{where}: expected the conversation of its prompt, got {_short(before)}")
    if last["role"] != "assistant" or not last["content"].strip():
        raise ValueError(f"{where}: expected an answer of the assistant that is not empty, got {_short(last)}")
    return last


def _messages(value: Any, where: str, expected: str) -> list[Message]:
    if not isinstance(value, list) or not value:
        raise ValueError(f"{where}: expected {expected}, got {_short(value)}")
    for turn in value:
        if not (isinstance(turn, Mapping) and turn.get("role") in ROLES and isinstance(turn.get("content"), str)):
            raise ValueError(f"{where}: expected {{role: {' | '.join(ROLES)}, content: text}}, got {_short(turn)}")
    return [{"role": turn["role"], "content": written(turn["content"], where)} for turn in value]


def _short(value: Any) -> str:
    return shortened(repr(value))


def shortened(text: str) -> str:
    """The beginning of a text, for a message."""
    return text if len(text) <= 80 else f"{text[:77]}..."
