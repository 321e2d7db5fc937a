"""Recipes: what a composed configuration says, checked for its shape and not yet for its sense.

The one decision: a recipe is a value. It is read once, with every round's numbers in place, and knows no step yet.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import yaml
from omegaconf import DictConfig

from loops.errors import RecipeError, nearest
from loops.resolved import in_each_round, resolved, section

PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")
MOST_ROUNDS = 1000


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

    ``sizes`` are its numbers, for people: they take no part in any key.
    """

    name: str
    sizes: dict[str, Any]
    setup: dict[str, Node]
    carry: dict[str, Carry]
    rounds: list[dict[str, Node]]

    @property
    def source(self) -> str:
        """The recipe as it was composed, as YAML, for people."""
        described = {"name": self.name, "rounds": len(self.rounds), **self.sizes, "carry": self.carry}
        described |= {"setup": self.setup, "round-01": self.rounds[0] if self.rounds else {}}
        return yaml.safe_dump(_plain(described), sort_keys=False)


def check_name(name: object, where: str) -> str:
    """The name, which becomes a path below ``runs/``.

    Raises:
        RecipeError: it is no plain name.
    """
    if not isinstance(name, str) or not PLAIN.fullmatch(name):
        raise RecipeError(
            f"{where}: {name!r} is no plain name; names of recipes, runs and nodes become paths and have letters, "
            "digits, _, - and . (not at the start) only, 100 at most"
        )
    return name


def load(cfg: DictConfig) -> Recipe:
    """Read a composed configuration. Materials that nobody reads are left out.

    Raises:
        RecipeError: a section has the wrong shape or an interpolation leads nowhere.
    """
    name, rounds = check_name(resolved(cfg, "name"), "name"), resolved(cfg, "rounds")
    if not isinstance(rounds, int) or isinstance(rounds, bool) or not 0 <= rounds <= MOST_ROUNDS:
        raise RecipeError(f"rounds: expected a whole number of rounds, got {rounds!r} (at most {MOST_ROUNDS})")
    setup = _nodes(section(cfg, "setup"), "setup")
    unrolled = [_nodes(entries, "round") for entries in in_each_round(cfg, "round", rounds)]
    carry = {check_name(name, "carry"): _carry(entry, f"carry.{name}") for name, entry in section(cfg, "carry").items()}
    names = [carried.init for carried in carry.values()] + [carried.next for carried in carry.values()]
    for nodes in [setup, *unrolled]:
        names += [name for node in nodes.values() for name in node.inputs.values() if name not in nodes]
    materials = _reached(names, cfg)
    sizes = {**section(cfg, "sizes"), **section(cfg, "sampling")}
    return Recipe(name=name, sizes=sizes, setup=materials | setup, carry=carry, rounds=unrolled)


def _plain(value: Any) -> Any:
    """Nodes and carries as the dictionaries that they were."""
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    return asdict(value) if isinstance(value, Node | Carry) else value


def _nodes(entries: Mapping[str, Any], place: str) -> dict[str, Node]:
    nodes = {
        check_name(name, place): _node(entry, f"{place}.{name}") for name, entry in entries.items() if entry is not None
    }
    for name, node in nodes.items():
        for key, read in node.inputs.items():
            if read in entries and read not in nodes:
                raise RecipeError(
                    f"{place}.{name}.inputs.{key}: {read!r} is left out; read another or leave {name!r} out too"
                )
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
    waiting = list(dict.fromkeys(names))
    while waiting:
        name = waiting.pop()
        if name in known and name not in reached:
            reached[name] = _node(resolved(cfg, f"materials.{name}"), f"materials.{name}")
            waiting += reached[name].inputs.values()
    return {name: reached[name] for name in known if name in reached}
