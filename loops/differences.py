"""What makes one run differ from another, and a step's key from its key there.

The one decision: a key differs because its stage differs or because one of its inputs does. So every difference is
followed upstream to the stages that differ in themselves, and only those are told.
"""

from collections.abc import Mapping
from typing import Any

from loops.console import rounds_table, say
from loops.errors import RecipeError
from loops.fingerprint import flat
from loops.plain import lay_out, plain
from loops.record import BEFORE, FILE, Record, Recorded, read, runs

TEXT = 80
"""The most letters of a value that are shown."""
ABSENT = object()


def why(record: Record, id: str, other: Record) -> None:
    """Print what made this step's key differ from that of the same step in another run.

    Raises:
        RecipeError: one of them has no such step.
    """
    mine, theirs = record.step(id), other.step(id)
    if mine.key == theirs.key:
        say(f"{id} is the same step in {plain(record.run)} and {plain(other.run)}: {mine.key}")
        return
    say(f"{id} is {mine.key} in {plain(record.run)}, {theirs.key} in {plain(other.run)}, because:")
    for cause, differences in causes(record, other, id).items():
        say("\n".join(f"  {cause}  {line}" for line in differences))


def diff(one: Record, other: Record) -> None:
    """Print what differs between two runs, from the first cause on, and what came of it."""
    shared = [step.id for step in one.steps if step.id in other.by_id]
    differing = [id for id in shared if one.step(id).key != other.step(id).key]
    same = len(shared) - len(differing)
    say(f"{plain(one.run)} and {plain(other.run)}: {same} steps are the same, {len(differing)} differ")
    for steps, line in all_differences(one, other):
        say(f"  {', '.join(steps)}  {line}")
    follow = sum(not own_differences(one.step(id), other.step(id)) for id in differing)
    if follow:
        say(f"  {follow} more differ only because of what they read")
    for record in (one, other):
        say(f"\n{plain(record.run)}")
        lay_out(rounds_table(record.table, record.metrics()))


def all_differences(one: Record, other: Record) -> list[tuple[list[str], str]]:
    """What differs between two runs in itself, each with the steps of which it holds; last, what only one has."""
    found: dict[tuple[str, str], list[str]] = {}
    for step in one.steps:
        for line in own_differences(step, other.step(step.id)) if step.id in other.by_id else ():
            found.setdefault((step.node, line), []).append(step.id)
    for record, against in ((one, other), (other, one)):
        alone = [step.id for step in record.steps if step.id not in against.by_id]
        if alone:
            found["", f"only in {plain(record.run)}"] = alone
    return [(steps, line) for (_, line), steps in found.items()]


def before(record: Record, id: str) -> Record:
    """The plan with which a step is compared if nobody says: the last one of this run, or the latest of another run,
    in which its key is another.

    Raises:
        RecipeError: there is none.
    """
    files = [(record.place, BEFORE)] if (record.place / BEFORE).exists() else []
    files += [(place, FILE) for place in runs(record.place.parent) if place != record.place]
    for place, file in files:
        other = read(place, file)
        if id in other.by_id and other.step(id).key != record.step(id).key:
            return other
    raise RecipeError(
        f"{id} has the same key in every run of {record.place.parent} that has it; there is nothing to say"
    )


def causes(one: Record, other: Record, id: str) -> dict[str, list[str]]:
    """By step, from the first on, what differs in itself among all that this step's key hangs on."""
    found: dict[str, list[str]] = {}
    waiting = [id]
    while waiting:
        id = waiting.pop()
        mine, theirs = one.step(id), other.step(id)
        if id not in found and mine.key != theirs.key:
            found[id] = own_differences(mine, theirs)
            waiting += [source for name, source in mine.inputs.items() if theirs.inputs.get(name) == source]
    return {step.id: found[step.id] for step in one.steps if found.get(step.id)}


def own_differences(mine: Recorded, theirs: Recorded) -> list[str]:
    """What differs between two steps but for the contents of what they read, a line a field or input.

    Of two steps of different stages the fields are not compared.
    """
    one, other = flat(mine.stage), flat(theirs.stage)
    if one["stage"] != other["stage"]:
        one, other = {"stage": one["stage"]}, {"stage": other["stage"]}
    return _changes(one, other) + _changes(mine.inputs, theirs.inputs, "reads ")


def _changes(mine: Mapping[str, Any], theirs: Mapping[str, Any], prefix: str = "") -> list[str]:
    return [
        f"{prefix}{name}: {_value(mine.get(name, ABSENT))}, there {_value(theirs.get(name, ABSENT))}"
        for name in dict.fromkeys((*mine, *theirs))
        if mine.get(name, ABSENT) != theirs.get(name, ABSENT)
    ]


def _value(value: Any) -> str:
    if value is ABSENT:
        return "nothing"
    return plain(value if isinstance(value, str) else repr(value), TEXT)
