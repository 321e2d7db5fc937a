"""What came of a run, in a sentence.

The one decision: "better" or "worse" is said only if the 95% interval of the difference excludes zero. Every sentence
names the numbers that it compares. A round that a gate has rolled back is no result.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from reports.intervals import Measured, difference, measured
from reports.seen import Made, Seen

SHARE = "accuracy"
"""The metric of a report that is compared between rounds and runs: higher is better."""
RATE = "win_rate"
"""The metric of a report that is compared with a half, which equal models have."""
ROLLED_BACK = "kept_incumbent"
"""The metric that is 1 in a round whose model a gate did not hand on."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """``word`` is better, worse or open; ``sentence`` says why."""

    word: str
    sentence: str


def verdicts(run: Seen) -> list[Verdict]:
    """The last round against the start, one for each measure that both have, and its win rates."""
    found = []
    for node, by_round in _measures(run, SHARE):
        first, last = min(by_round), max(by_round)
        if first == 0 < last:
            before, after = (measured(by_round[number].metrics, SHARE) for number in (first, last))
            found.append(_compared(f"{node}/{SHARE}", before, after, "at the start", f"after round {last}"))
    for node, by_round in _measures(run, RATE):
        last = max(by_round)
        found.append(_won(f"after round {last}, {node}/{RATE}", measured(by_round[last].metrics, RATE)))
    back = rolled_back(run)
    if back:
        told = f"Rolled back by the gate: {', '.join(f'round {number}' for number in sorted(back))}."
        found.append(Verdict(word="open", sentence=told))
    return found or [_none("nothing was measured both at the start and after a round")]


def between(one: Seen, other: Seen) -> list[Verdict]:
    """The second run against the first, after the last round that both have, where both measured the same things."""
    theirs, found = dict(_measures(other, SHARE)), []
    for node, mine in _measures(one, SHARE):
        last = max(mine.keys() & theirs.get(node, {}).keys(), default=0)
        if not last:
            continue
        what = f"after round {last}, {node}/{SHARE}"
        if _measured_on(one, mine[last]) != _measured_on(other, theirs[node][last]):
            found.append(_none(f"{what} was not measured on the same things in both runs"))
            continue
        before, after = (measured(each[last].metrics, SHARE) for each in (mine, theirs[node]))
        found.append(_compared(what, before, after, f"in {one.record.run}", f"in {other.record.run}"))
    return found or [_none("the two runs have no round after which both were measured by the same")]


def rolled_back(run: Seen) -> set[int]:
    """The rounds whose model was not handed on."""
    return {each.step.round for each in run.made if each.metrics.get(ROLLED_BACK)}


def _measures(run: Seen, name: str) -> Iterator[tuple[str, dict[int, Made]]]:
    """By node, the reports that tell this metric, by round."""
    back, found = rolled_back(run), dict[str, dict[int, Made]]()
    for each in run.of_kind("Report"):
        is_verdict = ROLLED_BACK in each.metrics  # a gate repeats what the reports that it read have told
        if name in each.metrics and each.step.round not in back and not is_verdict:
            found.setdefault(each.step.node, {})[each.step.round] = each
    return iter(found.items())


def _measured_on(run: Seen, each: Made) -> dict[str, str]:
    """The keys of what it reads that no round has made, such as held-out pairs."""
    sources = {name: run.record.step(source) for name, source in each.step.inputs.items()}
    return {name: source.key for name, source in sources.items() if not source.round}


def _compared(what: str, before: Measured, after: Measured, here: str, there: str) -> Verdict:
    numbers = f"{what} was {before} {here} and {after} {there}"
    if not (before.sure and after.sure):
        return _none(f"{numbers}, and nobody knows how sure one of them is")
    gap = difference(before, after)
    told = f"{numbers}. The difference is {gap.value:+.3f}, 95% interval [{gap.low:+.3f}, {gap.high:+.3f}]"
    return _sentence(gap.low > 0, gap.high < 0, told, "zero")


def _won(what: str, rate: Measured) -> Verdict:
    if not rate.sure:
        return _none(f"{what} was {rate}, and nobody knows how sure that is")
    return _sentence(rate.low > 0.5, rate.high < 0.5, f"{what} was {rate}, a 95% interval", "a half")


def _sentence(better: bool, worse: bool, told: str, equal: str) -> Verdict:
    if better or worse:
        word = "better" if better else "worse"
        return Verdict(word=word, sentence=f"{word.capitalize()}: {told}, which excludes {equal}.")
    told = f"No difference that could be told from chance: {told}, which includes {equal}."
    return Verdict(word="open", sentence=told)


def _none(why: str) -> Verdict:
    return Verdict(word="open", sentence=f"No verdict: {why}.")
