"""Canonical JSON of a value, and its hash. What has no stable identity is refused rather than guessed at."""

import dataclasses
import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from typing import Any


def canonical(value: object) -> object:
    """The value as plain JSON types.

    A dataclass becomes its type, its ``VERSION`` and those of its fields that take part in equality: a field declared
    with ``compare=False`` says where or how fast something is computed, never what. One declared with
    ``metadata={"added": True}`` came later and by default changes nothing, so by default it is left out.

    Raises:
        TypeError: for a value without a stable identity (a function, an open file, a NaN, a set, ...).
    """
    match value:
        case None | bool() | int() | str():
            return value
        case float() if math.isfinite(value):
            return value
        case list() | tuple():
            return [canonical(item) for item in value]
        case Mapping() if all(isinstance(name, str) for name in value):
            return {name: canonical(item) for name, item in value.items()}
        case _ if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return {
                "type": type_name(value),
                "version": getattr(value, "VERSION", 1),
                "fields": {name: canonical(field) for name, field in _identity(value)},
            }
    raise TypeError(f"{value!r} ({type(value).__name__}) has no stable identity")


def _identity(value: Any) -> Iterator[tuple[str, object]]:
    for field in dataclasses.fields(value):
        said = getattr(value, field.name)
        if field.compare and not (field.metadata.get("added") and said == field.default):
            yield field.name, said


def type_name(value: object) -> str:
    """The full name of a value's class."""
    return f"{type(value).__module__}.{type(value).__qualname__}"


def step_key(stage: object, inputs: Mapping[str, str]) -> str:
    """A step's key: a hash of what its stage computes and of its inputs' keys."""
    return fingerprint({"stage": stage, "inputs": dict(inputs)})


def fingerprint(value: object) -> str:
    """The first 16 hexadecimal digits of the sha256 of the value's canonical JSON."""
    text = json.dumps(canonical(value), sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def flat(stage: Mapping[str, Any], place: str = "") -> dict[str, Any]:
    """The fields of a stage by dotted names; ``stage`` and ``version`` are those of a dataclass as a whole."""
    fields: dict[str, Any] = {f"{place}stage": stage["type"], f"{place}version": stage["version"]}
    for name, value in stage["fields"].items():
        if isinstance(value, dict) and set(value) == {"type", "version", "fields"}:
            fields |= flat(value, f"{place}{name}.")
        else:
            fields[place + name] = value
    return fields
