"""A step's cost as the columns of a plan: memory, tokens, disk and time.

The one decision: what is foreseen and what was measured stand in the same place; beside a time that was measured stands
the one that was foreseen.
"""

from collections.abc import Callable, Mapping
from math import isnan

from loops.estimate import Estimate, disk
from loops.manifest import Manifest
from loops.plain import duration, size

HEADER = f"{'memory':>11}  {'tokens':>8}  {'disk':>7}  {'time':>15}"


def memory_of(estimate: Estimate) -> float:
    """About, else what is certain of it; 0 if nothing is known."""
    known = (each for each in (estimate.memory, estimate.least) if not isnan(each))
    return next(known, 0.0)


def cells(estimate: Estimate) -> str:
    """What a step will cost."""
    times = f"{estimate.devices}×" if estimate.devices > 1 else ""
    least = f"≥ {times}{size(estimate.least)}" if estimate.least > 0 else "?"
    memory = least if isnan(estimate.memory) else f"{times}{size(estimate.memory)}"
    tokens = f"{'≤' if estimate.at_most else '~'} {_count(estimate.tokens)}" if estimate.tokens > 0 else "–"
    shown = (memory, "?" if isnan(estimate.tokens) else tokens, _or_unknown(estimate.bytes, size))
    return _row(*shown, _or_unknown(estimate.seconds, duration))


def cells_made(made: Manifest) -> str:
    """What a step has cost."""
    memory, foreseen = made.provenance.get("memory"), told(made).get("seconds")
    beside = f" ({duration(foreseen)})" if foreseen is not None else ""
    tokens = _count(made.metrics["tokens"]) if "tokens" in made.metrics else ""
    return _row(size(memory) if memory else "?", tokens, size(disk(made)), f"{duration(made.seconds)}{beside}")


def _row(memory: str, tokens: str, room: str, time: str) -> str:
    return f"{memory:>11}  {tokens:>8}  {room:>7}  {time:>15}"


def told(made: Manifest) -> Mapping[str, float]:
    """What was foreseen of a step that is made."""
    foreseen: Mapping[str, float] = made.provenance.get("foreseen", {})
    return foreseen


def _or_unknown(value: float, shown: Callable[[float], str]) -> str:
    return "?" if isnan(value) else shown(value)


def _count(tokens: float) -> str:
    value, units = tokens, iter(("", "k", "M", "G", "T"))
    unit = next(units)
    while value >= 999.5 and unit != "T":
        value, unit = value / 1000, next(units)
    return f"{value:.3g}{unit}"
