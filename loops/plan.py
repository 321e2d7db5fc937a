"""The unrolling of a recipe: every step of every round, each with its key.

The one decision: the whole plan is known before anything is run, and making it touches no store.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from loops.errors import RecipeError, nearest
from loops.fingerprint import fingerprint, step_key, type_name
from loops.recipe import Node, Recipe
from loops.stage import Stage, build, signature


@dataclass(frozen=True, kw_only=True, eq=False)
class Step:
    """A node at one place of the unrolled graph. ``key`` is a Merkle hash of its stage and its inputs' keys."""

    id: str
    node: str
    round: int
    config: dict[str, Any]
    stage: Stage
    inputs: dict[str, "Step"]
    key: str

    @property
    def type(self) -> str:
        """The class of its stage, by its full name."""
        return type_name(self.stage)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Every step in an order in which each follows what it reads, and the steps that each round hands on.

    ``handed_on`` begins with what the setup hands on.
    """

    name: str
    source: str
    sizes: dict[str, Any]
    steps: list[Step]
    handed_on: list[dict[str, Step]]

    @property
    def carried(self) -> dict[str, Step]:
        """The steps that the last round hands on."""
        return self.handed_on[-1]

    @property
    def rounds(self) -> int:
        """How many there are."""
        return len(self.handed_on) - 1

    def until(self, round: int) -> "Plan":
        """The same without the rounds after this one."""
        steps = [step for step in self.steps if step.round <= round]
        return replace(self, steps=steps, handed_on=self.handed_on[: round + 1])

    @property
    def key(self) -> str:
        """The identity of the whole loop: the same steps in the same places."""
        return fingerprint([[step.id, step.key] for step in self.steps])

    def places(self) -> dict[str, list[Step]]:
        """The steps that have a key: more than one where two places compute the same."""
        places: dict[str, list[Step]] = {}
        for step in self.steps:
            places.setdefault(step.key, []).append(step)
        return places


def unroll(recipe: Recipe) -> Plan:
    """The fold over rounds.

    Raises:
        RecipeError: unknown name, wrong kind, a circle, or anything that a stage refuses.
    """
    steps: list[Step] = []
    scope = _run_through(recipe.setup, "setup", 0, {}, steps)
    carried = {name: _named(carry.init, scope, f"carry.{name}.init") for name, carry in recipe.carry.items()}
    handed_on = [carried]
    for number, nodes in enumerate(recipe.rounds, start=1):
        for name in nodes.keys() & carried.keys():
            raise RecipeError(f"round.{name}: {name!r} is what the rounds carry; choose another name for the node")
        this = _run_through(nodes, f"round-{number:02d}", number, scope | carried, steps)
        following = {name: _named(carry.next, this, f"carry.{name}.next") for name, carry in recipe.carry.items()}
        for name, step in following.items():
            _same_kind(carried[name], step, f"carry.{name}")
        carried = following
        handed_on.append(carried)
    return Plan(name=recipe.name, source=recipe.source, sizes=recipe.sizes, steps=steps, handed_on=handed_on)


def _run_through(
    nodes: dict[str, Node], place: str, number: int, scope: Mapping[str, Step], steps: list[Step]
) -> dict[str, Step]:
    """Turn a place's nodes into steps, each after what it reads; the scope with this place's steps added."""
    this: dict[str, Step] = {}

    def visit(name: str, trail: tuple[str, ...]) -> Step:
        if name in trail:
            raise RecipeError(f"{place}: {' -> '.join([*trail, name])} is a circle")
        if name not in this:
            node = nodes[name]
            sources = {
                key: visit(read, (*trail, name))
                if read in nodes
                else _named(read, scope, f"{place}/{name}.inputs.{key}", also=nodes)
                for key, read in node.inputs.items()
            }
            this[name] = _step(node, f"{place}/{name}", name, number, sources)
            steps.append(this[name])
        return this[name]

    for name in nodes:
        visit(name, ())
    return {**scope, **this}


def _step(node: Node, id: str, name: str, number: int, inputs: dict[str, Step]) -> Step:
    stage: Stage = build(node.stage, id)
    asked = signature(stage)
    takes = asked.inputs
    for key in inputs:
        if key not in takes:
            raise RecipeError(f"{id}: {type(stage).__name__} reads nothing called {key!r}{nearest(key, takes)}")
    for key, kind in takes.items():
        if key not in inputs:
            if key not in asked.optional:
                raise RecipeError(
                    f"{id}: {type(stage).__name__} also reads {key!r} ({kind.__name__}); name it in inputs"
                )
            continue
        made = signature(inputs[key].stage).output
        if not issubclass(made, kind):
            raise RecipeError(f"{id}: {key} takes {kind.__name__}, but {inputs[key].id} makes {made.__name__}")
    keys = {key: step.key for key, step in inputs.items()}
    for one, other in getattr(stage, "DISTINCT", ()):
        if other in keys and keys[one] == keys[other]:
            raise RecipeError(f"{id}: {one} and {other} are the same artifact ({inputs[one].id}); they must differ")
    try:
        key = step_key(stage, keys)
    except TypeError as wrong:
        raise RecipeError(f"{id}: {wrong}") from wrong
    return Step(id=id, node=name, round=number, config=node.stage, stage=stage, inputs=inputs, key=key)


def _named(name: str, scope: Mapping[str, Step], where: str, also: Iterable[str] = ()) -> Step:
    if name not in scope:
        raise RecipeError(f"{where}: nothing is called {name!r}{nearest(name, [*scope, *also])}")
    return scope[name]


def _same_kind(before: Step, after: Step, where: str) -> None:
    first, second = signature(before.stage).output, signature(after.stage).output
    if not issubclass(second, first) and not issubclass(first, second):
        raise RecipeError(
            f"{where}: begins as {first.__name__} ({before.id}) and goes on as {second.__name__} ({after.id})"
        )
