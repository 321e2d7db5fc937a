"""What a run cost: wall time, GPU-hours and tokens, by step.

The one decision: it is what making each artifact took, whoever made it and whenever, read off the manifests. A step
that several runs share costs each of them what it took once.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from reports.seen import Made, Seen


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Wall time, GPU-hours (None: nobody knows what it ran on) and generated tokens (None: it generates none)."""

    name: str
    seconds: float
    gpu_hours: float | None
    tokens: float | None


def costs(run: Seen) -> list[Cost]:
    """A row a step that has finished, each key once."""
    once = {each.step.key: each for each in reversed(run.made)}
    return [_of(each) for each in run.made if once[each.step.key] is each]


def by_node(run: Seen) -> list[Cost]:
    """The same by node, all rounds together, the dearest first."""
    own: dict[str, list[Cost]] = {}
    for cost in costs(run):
        own.setdefault(cost.name.rpartition("/")[2], []).append(cost)
    return sorted((total(each, node) for node, each in own.items()), key=lambda cost: -cost.seconds)


def total(costs: Iterable[Cost], name: str) -> Cost:
    """All together; what nobody knows of one is not known of the sum."""
    each = list(costs)
    hours = [cost.gpu_hours for cost in each]
    tokens = [cost.tokens for cost in each if cost.tokens is not None]
    return Cost(
        name=name,
        seconds=sum(cost.seconds for cost in each),
        gpu_hours=None if None in hours else sum(hour for hour in hours if hour is not None),
        tokens=sum(tokens) if tokens else None,
    )


def _of(each: Made) -> Cost:
    gpus, seconds, metrics = each.manifest.provenance.get("gpus"), each.manifest.seconds, each.metrics
    generates = each.step.kind == "Completions" and "tokens_mean" in metrics
    return Cost(
        name=each.step.id,
        seconds=seconds,
        gpu_hours=None if gpus is None else seconds / 3600 * len(gpus),
        tokens=metrics["answers"] * metrics["tokens_mean"] if generates else None,
    )
