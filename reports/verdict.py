"""What came of a run, in a sentence.

The one decision: "better" or "worse" is said only if the 95% interval of the difference excludes zero. Every sentence
names the two numbers that it compares.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from reports.intervals import Measured, difference, measured
from reports.seen import Seen

BETTER_WHEN_HIGHER = ("accuracy",)
"""Metrics of reports in which a higher number is a better model."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """``word`` is better, worse or open; ``sentence`` says why."""

    word: str
    sentence: str


def verdicts(run: Seen) -> list[Verdict]:
    """The last round against the start, one for each measure that both have."""
    found = []
    for node, name, by_round in _measures(run):
        numbers = sorted(by_round)
        if len(numbers) > 1:
            first, last = numbers[0], numbers[-1]
            places = "at the start" if first == 0 else f"after round {first}", f"after round {last}"
            found.append(_compared(f"{node}/{name}", by_round[first], by_round[last], places))
    if not found:
        return [Verdict(word="open", sentence="No verdict: nothing was measured both at the start and after a round.")]
    return found


def between(one: Seen, other: Seen) -> list[Verdict]:
    """The second run against the first, after the last round that both have."""
    theirs = {(node, name): by_round for node, name, by_round in _measures(other)}
    found = []
    for node, name, ours in _measures(one):
        if (node, name) in theirs:
            after, here, there = theirs[node, name], one.record.run, other.record.run
            last = max(ours.keys() & after.keys(), default=0)
            if last:
                places = f"in {here}", f"in {there}"
                found.append(_compared(f"after round {last}, {node}/{name}", ours[last], after[last], places))
    if not found:
        return [
            Verdict(
                word="open", sentence="No verdict: the two runs have no round in which both were measured by the same."
            )
        ]
    return found


def _measures(run: Seen) -> Iterator[tuple[str, str, Mapping[int, Measured]]]:
    """Node, metric, and what it was in each round."""
    for node in dict.fromkeys(each.step.node for each in run.of_kind("Report")):
        for name in BETTER_WHEN_HIGHER:
            by_round = {number: metrics for number, metrics in run.by_round(node).items() if name in metrics}
            if by_round:
                yield node, name, {number: measured(metrics, name) for number, metrics in by_round.items()}


def _compared(what: str, before: Measured, after: Measured, places: tuple[str, ...]) -> Verdict:
    numbers = f"{what} was {before} {places[0]} and {after} {places[1]}"
    if not (before.sure and after.sure):
        return Verdict(word="open", sentence=f"No verdict: {numbers}, and how sure one of them is nobody knows.")
    gap = difference(before, after)
    told = f"{numbers}. The difference is {gap.value:+.3f}, 95% interval [{gap.low:+.3f}, {gap.high:+.3f}]"
    if gap.low > 0:
        return Verdict(word="better", sentence=f"Better: {told}, which excludes zero.")
    if gap.high < 0:
        return Verdict(word="worse", sentence=f"Worse: {told}, which excludes zero.")
    return Verdict(word="open", sentence=f"No difference that could be told from chance: {told}, which includes zero.")
