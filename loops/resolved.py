"""What a composed configuration says, as plain containers, with OmegaConf.

The one decision: what does not depend on the round is resolved once for all rounds, since parsing interpolations is
most of what planning costs. What does is found out by trying: while the round's number leads nowhere, whatever reads it
cannot be resolved.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from loops.errors import RecipeError

MOST = 10_000
"""Values in a section of the configuration; real ones have hundreds."""
NOWHERE = "${the_number_of_a_round}"
"""An interpolation that cannot be resolved: a missing number would do, if ``oc.select`` took no default for it."""


@dataclass(frozen=True, kw_only=True)
class _Later:
    """A value that could not be resolved yet, and how it is read."""

    read: Callable[[], Any]


def section(cfg: DictConfig, name: str) -> dict[str, Any]:
    """A section of the configuration as a plain dictionary, interpolations resolved; empty if there is none.

    Raises:
        RecipeError: it is no section, or something in it leads nowhere.
    """
    return _names(resolved(cfg, name), name)


def resolved(cfg: DictConfig, path: str) -> Any:
    """What stands at a dotted path, as plain containers; None if nothing does.

    Raises:
        RecipeError: something in it has no default or leads nowhere.
    """
    with _refused(path):
        return _plain(partial(OmegaConf.select, cfg, path), Counter())


def in_each_round(cfg: DictConfig, name: str, rounds: int) -> Iterator[dict[str, Any]]:
    """A section of the configuration as it is in the first round, in the second, ...

    Raises:
        RecipeError: as ``section``.
    """
    cfg.number = NOWHERE
    known = _plain(partial(OmegaConf.select, cfg, name), Counter(), later=True)
    for cfg.number in range(1, rounds + 1):
        with _refused(name):
            found = _now(known, Counter())
        yield _names(found, name)
    cfg.number = 0


@contextmanager
def _refused(path: str) -> Iterator[None]:
    """What OmegaConf cannot resolve is the recipe's mistake."""
    try:
        yield
    except OmegaConfBaseException as wrong:
        reason = str(wrong).splitlines()[0]
        _, missing, key = reason.partition("Missing mandatory value: ")
        raise RecipeError(f"{path}: {f'{key} has no default; say {key}=...' if missing else reason}") from wrong


def _names(found: Any, where: str) -> dict[str, Any]:
    if not isinstance(found or {}, dict):
        raise RecipeError(f"{where}: expected names, got {found!r}")
    return {str(key): value for key, value in (found or {}).items()}


def _plain(read: Callable[[], Any], seen: Counter[str], later: bool = False) -> Any:
    """What is read as plain containers, interpolations resolved, or with ``later`` what could be.

    What refers to itself over and over is not unfolded to the end.
    """
    seen["values"] += 1
    if seen["values"] > MOST:
        raise RecipeError(f"the configuration unfolds to more than {MOST:,} values; does something refer to itself?")
    try:
        value = read()
    except OmegaConfBaseException:
        if not later:
            raise
        return _Later(read=read)

    def item(key: Any) -> Any:
        return _plain(partial(value.__getitem__, key), seen, later)

    if isinstance(value, DictConfig):
        return {key: "???" if OmegaConf.is_missing(value, key) else item(key) for key in value}
    return [item(place) for place in range(len(value))] if isinstance(value, ListConfig) else value


def _now(known: Any, seen: Counter[str]) -> Any:
    """The same with what was left for later, in new containers."""
    match known:
        case _Later():
            return _plain(known.read, seen)
        case dict():
            return {key: _now(value, seen) for key, value in known.items()}
        case list():
            return [_now(value, seen) for value in known]
    return known
