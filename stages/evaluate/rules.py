"""The rules that every gate has, and the verdict that follows from rules.

The one decision: a candidate is refused for what it does wrong, never for not being better. A round's gain is smaller
than the noise of a small held-out set, and a gate that asked for one would keep the first model for ever.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from stages.artifacts import Report


class Rule(NamedTuple):
    """A rule, whether the candidate keeps it, and in words what it did if not."""

    name: str
    kept: bool
    broken: str


@dataclass(frozen=True, kw_only=True)
class Rules:
    """A candidate must not know less than the best model so far, nor drift too far from the start.

    Accuracy is compared with the best that was handed on and not with the incumbent's alone: many falls within the
    noise would add up. Length and distinct-n are compared with the start's for the same reason.

    Args:
        deviations: held-out accuracy may be lower by so many standard errors (the larger of candidate's and
            incumbent's); 1.96 is the 95 % interval.
        length: mean tokens an answer may be at most so many times the start's, and no fewer than one such part of it.
        distinct: none of distinct-1, -2 and -3 may be under this share of the start's.
    """

    deviations: float = 1.96
    length: float = 1.5
    distinct: float = 0.7

    def __post_init__(self) -> None:
        if self.deviations < 0 or self.length <= 1 or not 0 <= self.distinct <= 1:
            raise ValueError("deviations must be at least 0, length above 1 and distinct in [0, 1]")

    def rules(self, candidate: Report, incumbent: Report, monitor: Report) -> list[Rule]:
        """Each rule, tried on a candidate's Probe and Monitor and on the incumbent's Probe or verdict."""
        probed, seen = candidate.read(), monitor.read()
        accuracy, length, distinct = probed["accuracy"], seen["length_ratio"], seen["distinct_ratio"]
        before = incumbent.read()
        least = _best(before) - self.deviations * max(probed["accuracy_se"], before["accuracy_se"])
        close = length is None or 1 / self.length <= length <= self.length
        varied = distinct is None or distinct >= self.distinct
        return [
            Rule("accuracy", accuracy >= least, f"held-out accuracy {accuracy:.3f} is under {least:.3f}"),
            Rule(
                "length",
                close,
                f"answers are {length or 0:.2f} times as long as the start's, not within {self.length:g}",
            ),
            Rule("distinct", varied, f"distinct-n is {distinct or 0:.2f} of the start's"),
        ]


def decide(rules: Sequence[Rule], candidate: Report, incumbent: Report, out: Report) -> Mapping[str, float]:
    """Write the verdict: the incumbent stays if a rule is broken.

    ``kept_incumbent`` and ``failed_RULE`` are 0 or 1; ``accuracy`` and ``accuracy_se`` are those of the model that goes
    on, ``best_accuracy`` is the best of all that did; ``why`` says it in words.
    """
    broken = [rule.broken for rule in rules if not rule.kept]
    before = incumbent.read()
    goes_on = before if broken else candidate.read()
    told = {
        "kept_incumbent": float(bool(broken)),
        **{f"failed_{rule.name}": float(not rule.kept) for rule in rules},
        "accuracy": goes_on["accuracy"],
        "accuracy_se": goes_on["accuracy_se"],
        "best_accuracy": max(_best(before), goes_on["accuracy"]),
    }
    out.write({**told, "why": f"keeps the incumbent: {'; '.join(broken)}" if broken else "hands on the candidate"})
    return told


def _best(report: Mapping[str, Any]) -> float:
    best: float = report.get("best_accuracy", report["accuracy"])
    return best
