"""Recipe files as they are read: by anyone, so nothing in one is believed before it was looked at.

The one decision: a recipe file says methods and their numbers. What says where and on what, such as a store, a tracker,
an engine or a model, is the user's, and a file that says it is refused.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from loops.errors import RecipeError, nearest
from loops.secrets import hidden

SECTIONS = (
    *("defaults", "name", "rounds", "sizes", "sampling", "laptop"),
    *("carry", "setup", "round", "materials", "training", "table"),
)
USERS = (
    *("store", "remote", "runs", "run", "number", "home", "closing", "hydra", "chosen", "recipes"),
    *("model", "data", "scale", "engine", "executor", "tracker", "launch", "budget", "notify"),
)
"""What the user says, on the command line or in conf/, and no recipe."""
LARGEST = 1_000_000
DEEPEST = 32


def lineage(name: str, files: Mapping[str, Path], above: tuple[str, ...] = ()) -> dict[str, DictConfig]:
    """A recipe and those that it builds on, by name, each read and looked at.

    Raises:
        RecipeError: one is no recipe, or they are a circle.
    """
    if name in above:
        raise RecipeError(f"{files[name]}: {' -> '.join([*above, name])} is a circle of defaults")
    own = read(files[name])
    found = {name: own}
    for base in OmegaConf.to_container(own).get("defaults") or []:  # type: ignore[union-attr]
        if base != "_self_":
            if base not in files:
                raise RecipeError(
                    f"{files[name]}: defaults names recipes to build on, not {base!r}{nearest(str(base), files)}"
                )
            found |= lineage(base, files, (*above, name))
    return found


def read(file: Path) -> DictConfig:
    """A recipe's file.

    Raises:
        RecipeError: it is not YAML, or says what no recipe may say.
    """
    try:
        text = file.read_text(encoding="utf-8")
        _check_shape(text, file)
        made = OmegaConf.create(text)
    except (yaml.YAMLError, OmegaConfBaseException, ValueError, TypeError, OSError) as wrong:
        raise RecipeError(f"{file} is not YAML for a recipe: {' '.join(hidden(str(wrong)).split())[:300]}") from wrong
    assert isinstance(made, DictConfig), "its shape was looked at"
    for key in made:
        if key in USERS:
            raise RecipeError(f"{file}: {key!r} is no part of a recipe; say {key}=... on the command line")
    bases = OmegaConf.to_container(made).get("defaults")  # type: ignore[union-attr]
    if bases is not None and not (
        isinstance(bases, list) and all(isinstance(base, str) and "${" not in base for base in bases)
    ):
        raise RecipeError(f"{file}: defaults is a list of recipes to build on, not {bases!r}")
    _check_texts(OmegaConf.to_container(made), file)
    return made


def check_read(recipes: Iterable[DictConfig], composed: DictConfig) -> None:
    """
    Raises:
        RecipeError: a recipe says something under a name that nothing reads.
    """
    everything = OmegaConf.to_yaml(composed)
    for key in {str(key) for recipe in recipes for key in recipe} - set(SECTIONS):
        if not re.search(rf"\$\{{(oc\.select:\s*)?{re.escape(key)}\b", everything):
            raise RecipeError(f"{key}: a recipe says it, but nothing reads it{nearest(key, SECTIONS)}")


def _check_shape(text: str, file: Path) -> None:
    """Before anything is made of it: aliases could multiply a few lines into more than the memory holds."""
    if len(text) > LARGEST:
        raise RecipeError(f"{file}: {len(text):,} characters are too many for a recipe ({LARGEST:,} at most)")
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        line = event.start_mark.line + 1 if event.start_mark else 0
        if isinstance(event, yaml.AliasEvent):
            raise RecipeError(f"{file}, line {line}: a recipe has no aliases (*{event.anchor}); say ${{...}}")
        if tag := getattr(event, "tag", None):
            raise RecipeError(f"{file}, line {line}: a recipe has no tags ({tag})")
        if depth == 0 and isinstance(event, yaml.ScalarEvent | yaml.SequenceStartEvent):
            raise RecipeError(f"{file}, line {line}: a recipe is a mapping of names to what they mean")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise RecipeError(f"{file}, line {line}: nested more than {DEEPEST} deep")


def _check_texts(value: Any, file: Path) -> None:
    """One interpolation a text: several in a row could multiply as aliases do."""
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            _check_texts(item, file)
    elif isinstance(value, str) and value.count("${") > 1:
        raise RecipeError(f"{file}: a text of a recipe holds one ${{...}} at most, not {value[:80]!r}")
