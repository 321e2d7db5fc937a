"""What a composed recipe may not come to, looked at before anything is built.

The one decision: values are looked at and not where they were written, so no detour through interpolations leads
around. A file outside where you stand, and a secret, must be the user's own words, or are refused.
"""

from collections.abc import Iterator, Mapping, Sequence
from glob import glob
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser

from loops.errors import RecipeError
from loops.recipe import Recipe
from loops.secrets import secrets
from loops.shipped import home
from loops.trust import trusted

CODE = ("include_path",)
"""Fields that name a folder whose files may run code."""
MACHINES = ("loops.", "stages.engines.", "stages.train.launch.")


def screen(recipe: Recipe, chosen: Mapping[str, Any], overrides: Sequence[str]) -> None:
    """
    Args:
        chosen: the machines that the user chose, ``engine`` and ``launch``, with those that are inside them.
        overrides: what the user said.

    Raises:
        RecipeError: a stage reads a file that is neither below where you stand, nor shipped, nor said on the command
            line; it brings machines of its own; or it holds the value of a secret.
    """
    said, known = set(_said(overrides)), list(secrets())
    machines = [part for _, part in _walk(dict(chosen), "") if isinstance(part, dict)]
    for place, nodes in enumerate([recipe.setup, *recipe.rounds]):
        for name, node in nodes.items():
            for field, value in _walk(node.stage, f"round-{place:02d}/{name}" if place else f"setup/{name}"):
                if isinstance(value, dict):
                    _check_target(field, value, machines)
                elif isinstance(value, str):
                    _check_secrets(field, value, known)
                    _check_path(field, value, said)
                elif not isinstance(value, list | int | float | None):
                    raise RecipeError(f"{field}: a recipe holds texts and numbers, no {type(value).__name__}")


def _check_target(field: str, value: Mapping[str, Any], machines: Sequence[Mapping[str, Any]]) -> None:
    target = value.get("_target_")
    if isinstance(target, str) and target.startswith(MACHINES) and value not in machines:
        raise RecipeError(f"{field}: {target} is the user's to choose; say {{engine: ${{engine}}}} and engine=...")


def _check_secrets(field: str, value: str, known: Sequence[tuple[str, str]]) -> None:
    for name, secret in known:
        if secret in value:
            raise RecipeError(
                f"{field} holds the value of {name}, and a field is written to manifests: name the variable instead "
                "(key_variable), or unset it if it is no secret"
            )


def _check_path(field: str, value: str, said: set[str]) -> None:
    name = field.rpartition(".")[2]
    if name in CODE and value not in trusted():
        raise RecipeError(
            f"{field}: files in {value!r} may run code; if you trust them, list the folder in SELFLOOP_TRUST, as it is "
            "written here"
        )
    if (name == "path" or name.endswith("_path")) and value not in said and not _all_ours(value):
        raise RecipeError(
            f"{field}: {value!r} leads out of the folder where you stand; to have it read, say it on the command line"
        )


def _walk(value: Any, where: str) -> Iterator[tuple[str, Any]]:
    """Every value below, with its dotted name."""
    yield where, value
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _walk(item, f"{where}.{name}")
    elif isinstance(value, list):
        for place, item in enumerate(value):
            yield from _walk(item, f"{where}[{place}]")


def _all_ours(path: str) -> bool:
    """Whether a path, and all files if it is a pattern, are ours."""
    return _ours(path) and all(map(_ours, glob(path, recursive=True)))


def _ours(path: str) -> bool:
    """Whether a path stays below where you stand, or in the shipped recipes, links and all."""
    try:
        real = Path(path).resolve()
    except (ValueError, OSError, RuntimeError):
        return False
    return any(real.is_relative_to(folder.resolve()) for folder in (Path.cwd(), home() / "recipes"))


def _said(overrides: Sequence[str]) -> Iterator[str]:
    """Every text that the command line gives as a value."""
    for override in OverridesParser.create().parse_overrides(list(overrides)):
        if not override.is_delete():
            yield from (value for _, value in _walk(override.value(), "") if isinstance(value, str))
