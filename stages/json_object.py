"""Whether an answer is the JSON object that was wanted.

The one decision: equal is what JSON calls equal, so that true is not 1, and what says a name twice says nothing.
"""

import json
import re
from collections.abc import Callable
from typing import Any

FENCE = re.compile(r"```(?:json)?\n(.*)\n```", flags=re.DOTALL)


def json_object(expected: str) -> Callable[[str], bool]:
    """The whole answer is a JSON object, perhaps fenced, with exactly the keys of the expected one and its values; a
    null there stands for any value."""
    wanted = _json(expected)
    if not isinstance(wanted, dict):
        raise ValueError(f"expected a JSON object, got {expected!r}")

    def holds(answer: str) -> bool:
        fenced = FENCE.fullmatch(answer.strip())
        found = _json(fenced[1] if fenced else answer)
        if not isinstance(found, dict) or found.keys() != wanted.keys():
            return False
        return all(value is None or _same(found[key], value) for key, value in wanted.items())

    return holds


def _json(said: str) -> Any:
    """What the JSON says; None if it is none, says a name twice, is nested too deep (RecursionError), or has too long a
    number."""
    try:
        return json.loads(said, object_pairs_hook=each_once)
    except (ValueError, RecursionError):
        return None


def each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object of these names and values, for ``json.loads(..., object_pairs_hook=each_once)``.

    Raises:
        ValueError: a name occurs twice, of which all values but the last would be lost.
    """
    if len(found := dict(pairs)) < len(pairs):
        raise ValueError(f"a name occurs twice among {', '.join(name for name, _ in pairs)}")
    return found


def _same(one: Any, other: Any) -> bool:
    """Equal as JSON has it, where true is not 1."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)
