"""Recipes and their unrolling: from configuration to the list of every step of every round, each with its key.

The one decision: the whole plan is known before anything is run, and making it touches no store.
"""

import inspect
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from loops.errors import RecipeError, nearest
from loops.fingerprint import fingerprint, step_key
from loops.stage import Stage, build, signature


@dataclass(frozen=True, kw_only=True)
class Node:
    """A recipe's entry: a stage's configuration, and for each of its inputs the name of what it reads."""

    stage: dict[str, Any]
    inputs: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Carry:
    """What one name means in the first round (``init``) and what a round hands on under it (``next``)."""

    init: str
    next: str


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A fold: nodes that run once, what is carried from round to round, and the nodes of each round.

    ``source`` is the recipe as it was composed and ``sizes`` its numbers, for people: they take no part in any key.
    """

    name: str
    source: str
    sizes: dict[str, Any]
    setup: dict[str, Node]
    carry: dict[str, Carry]
    rounds: list[dict[str, Node]]


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


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Every step in an order in which each follows what it reads, and the steps that the last round hands on."""

    name: str
    source: str
    sizes: dict[str, Any]
    steps: list[Step]
    carried: dict[str, Step]

    @property
    def key(self) -> str:
        """The identity of the whole loop: the same steps in the same places."""
        return fingerprint([[step.id, step.key] for step in self.steps])


def load(cfg: DictConfig) -> Recipe:
    """Read a composed configuration. Materials that nobody reads are left out.

    Raises:
        RecipeError: a section has the wrong shape or an interpolation leads nowhere.
    """
    name, rounds = resolved(cfg, "name"), resolved(cfg, "rounds")
    if not isinstance(name, str):
        raise RecipeError(f"name: a recipe needs a name, got {name!r}")
    if not isinstance(rounds, int) or isinstance(rounds, bool) or rounds < 0:
        raise RecipeError(f"rounds: expected a whole number of rounds, got {rounds!r}")
    setup = _nodes(cfg, "setup")
    unrolled = []
    for number in range(1, rounds + 1):
        cfg.number = number
        unrolled.append(_nodes(cfg, "round"))
    cfg.number = 0
    carry = {name: _carry(entry, f"carry.{name}") for name, entry in section(cfg, "carry").items()}
    names = [carried.init for carried in carry.values()] + [carried.next for carried in carry.values()]
    for nodes in [setup, *unrolled]:
        names += [name for node in nodes.values() for name in node.inputs.values()]
    materials = _reached(names, cfg)
    sizes = {**section(cfg, "sizes"), **section(cfg, "sampling")}
    described = {"name": name, "rounds": rounds, **sizes, "carry": section(cfg, "carry"), "setup": materials | setup}
    source = yaml.safe_dump(_plain({**described, "round-01": unrolled[0] if unrolled else {}}), sort_keys=False)
    return Recipe(name=name, source=source, sizes=sizes, setup=materials | setup, carry=carry, rounds=unrolled)


def unroll(recipe: Recipe) -> Plan:
    """The fold over rounds.

    Raises:
        RecipeError: unknown name, wrong kind, a circle, or anything that a stage refuses.
    """
    steps: list[Step] = []
    scope = _run_through(recipe.setup, "setup", 0, {}, steps)
    carried = {name: _named(carry.init, scope, f"carry.{name}.init") for name, carry in recipe.carry.items()}
    for number, nodes in enumerate(recipe.rounds, start=1):
        for name in nodes.keys() & carried.keys():
            raise RecipeError(f"round.{name}: {name!r} is what the rounds carry; choose another name for the node")
        this = _run_through(nodes, f"round-{number:02d}", number, scope | carried, steps)
        following = {name: _named(carry.next, this, f"carry.{name}.next") for name, carry in recipe.carry.items()}
        for name, step in following.items():
            _same_kind(carried[name], step, f"carry.{name}")
        carried = following
    return Plan(name=recipe.name, source=recipe.source, sizes=recipe.sizes, steps=steps, carried=carried)


def _plain(value: Any) -> Any:
    """Nodes and carries as the dictionaries that they were."""
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    return asdict(value) if isinstance(value, Node | Carry) else value


def section(cfg: DictConfig, name: str) -> dict[str, Any]:
    """A section of the configuration as a plain dictionary, interpolations resolved; empty if there is none.

    Raises:
        RecipeError: it is no section, or something in it leads nowhere.
    """
    found = resolved(cfg, name) or {}
    if not isinstance(found, dict):
        raise RecipeError(f"{name}: expected names, got {found!r}")
    return {str(key): value for key, value in found.items()}


def resolved(cfg: DictConfig, path: str) -> Any:
    """What stands at a dotted path, as plain containers; None if nothing does.

    Raises:
        RecipeError: something in it has no default or leads nowhere.
    """
    try:
        value = OmegaConf.select(cfg, path)
        return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
    except OmegaConfBaseException as wrong:
        reason = str(wrong).splitlines()[0]
        _, missing, key = reason.partition("Missing mandatory value: ")
        raise RecipeError(f"{path}: {f'{key} has no default; say {key}=...' if missing else reason}") from wrong


def _nodes(cfg: DictConfig, place: str) -> dict[str, Node]:
    entries = section(cfg, place)
    nodes = {name: _node(entry, f"{place}.{name}") for name, entry in entries.items() if entry is not None}
    for name, node in nodes.items():
        for key, read in node.inputs.items():
            if read in entries and read not in nodes:
                raise RecipeError(f"{place}.{name}.inputs.{key}: {read!r} is left out; leave {name!r} out too")
    return nodes


def _node(entry: Any, where: str) -> Node:
    if not isinstance(entry, dict) or not isinstance(entry.get("stage"), dict):
        raise RecipeError(f"{where}: a node is {{stage: {{_target_: ...}}, inputs: {{...}}}}, got {entry!r}")
    for name in entry:
        if name not in ("stage", "inputs"):
            raise RecipeError(f"{where}: a node has no {name!r}{nearest(name, ['stage', 'inputs'])}")
    inputs = entry.get("inputs") or {}
    if not isinstance(inputs, dict) or not all(isinstance(read, str) for read in inputs.values()):
        raise RecipeError(f"{where}.inputs: expected {{input: name of what it reads}}, got {inputs!r}")
    return Node(stage=entry["stage"], inputs=inputs)


def _carry(entry: Any, where: str) -> Carry:
    if not (
        isinstance(entry, dict) and set(entry) == {"init", "next"} and all(isinstance(v, str) for v in entry.values())
    ):
        raise RecipeError(f"{where}: a carry is {{init: NAME, next: NAME}}, got {entry!r}")
    return Carry(**entry)


def _reached(names: Iterable[str], cfg: DictConfig) -> dict[str, Node]:
    """Those of the materials that the names lead to, directly or through each other. The others are not looked at."""
    known = cfg.materials if "materials" in cfg else {}
    reached: dict[str, Node] = {}
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name in known and name not in reached:
            reached[name] = _node(resolved(cfg, f"materials.{name}"), f"materials.{name}")
            waiting += reached[name].inputs.values()
    return {name: reached[name] for name in known if name in reached}


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
    takes = signature(stage).inputs
    for key in inputs:
        if key not in takes:
            raise RecipeError(f"{id}: {type(stage).__name__} reads nothing called {key!r}{nearest(key, takes)}")
    for key, kind in takes.items():
        if key not in inputs:
            if inspect.signature(type(stage).__call__).parameters[key].default is inspect.Parameter.empty:
                raise RecipeError(
                    f"{id}: {type(stage).__name__} also reads {key!r} ({kind.__name__}); name it in inputs"
                )
            continue
        made = signature(inputs[key].stage).output
        if not issubclass(made, kind):
            raise RecipeError(f"{id}: {key} takes {kind.__name__}, but {inputs[key].id} makes {made.__name__}")
    keys = {key: step.key for key, step in inputs.items()}
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
    if first is not second:
        raise RecipeError(
            f"{where}: begins as {first.__name__} ({before.id}) and goes on as {second.__name__} ({after.id})"
        )
