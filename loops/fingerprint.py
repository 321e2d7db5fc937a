"""Canonical JSON of a value, and its hash. What has no stable identity is refused rather than guessed at."""

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping


def canonical(value: object) -> object:
    """The value as plain JSON types.

    A dataclass becomes its type, its ``VERSION`` and those of its fields that take part in equality: a field declared
    with ``compare=False`` says where or how fast something is computed, never what.

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
                "type": f"{type(value).__module__}.{type(value).__qualname__}",
                "version": getattr(value, "VERSION", 1),
                "fields": {f.name: canonical(getattr(value, f.name)) for f in dataclasses.fields(value) if f.compare},
            }
    raise TypeError(f"{value!r} ({type(value).__name__}) has no stable identity")


def step_key(stage: object, inputs: Mapping[str, str]) -> str:
    """A step's key: a hash of what its stage computes and of its inputs' keys."""
    return fingerprint({"stage": stage, "inputs": dict(inputs)})


def fingerprint(value: object) -> str:
    """The first 16 hexadecimal digits of the sha256 of the value's canonical JSON."""
    text = json.dumps(canonical(value), sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
