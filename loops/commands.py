"""The commands that look at what runs have left, without a recipe: ``show``, ``status``, ``diff``, ``gc`` and others.

The one decision: one table. A command is a function, and its parameters are the words that it takes: those without a
default by their place, the others by name.
"""

import inspect
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from loops import differences, record, upkeep
from loops import show as steps
from loops import status as progress
from loops.console import say
from loops.errors import RecipeError, nearest
from loops.plain import size
from loops.store import Store


def show(step: str, run: str = "", runs: str = "runs", rows: str = "5") -> None:
    """A step: its fields, its numbers and its first rows."""
    if not rows.isdecimal():
        raise RecipeError(f"rows={rows}: how many rows are to be shown is a whole number")
    steps.show(record.chosen(Path(runs), run), step, int(rows))


def status(run: str = "", runs: str = "runs") -> None:
    """What runs, has finished or failed, what is next, and how long it will take."""
    others = [place.name for place in record.runs(Path(runs))]
    progress.status(record.chosen(Path(runs), run), others)


def diff(one: str, other: str, runs: str = "runs") -> None:
    """What differs between two runs, and what came of it."""
    differences.diff(*(record.read(Path(runs) / run) for run in (one, other)))


def why(step: str, run: str = "", other: str = "", runs: str = "runs") -> None:
    """What made a step another than in another run, or than it was before."""
    mine = record.chosen(Path(runs), run)
    mine.step(step)
    differences.why(mine, step, record.read(Path(runs) / other) if other else differences.before(mine, step))


def logs(step: str, run: str = "", runs: str = "runs") -> None:
    """A step's warnings and its traceback."""
    steps.log(record.chosen(Path(runs), run), step)


def ui(run: str = "", runs: str = "runs", port: str = "5000") -> None:
    """MLflow's dashboard on this machine, with a link to its charts."""
    from loops.dashboard.ui import serve

    if not port.isdecimal():
        raise RecipeError(f"port={port}: a port is a whole number")
    serve(record.chosen(Path(runs), run), int(port))


def verify(store: str = "store", runs: str = "runs") -> int:
    """Read every artifact again; what is damaged is made again by the next run."""
    return 0 if upkeep.verify(_opened(store), Path(runs)) else 2


def gc(yes: bool, store: str = "store", runs: str = "runs") -> None:
    """What no run needs, how much that is, and whether to remove it."""
    opened = _opened(store)
    if not Path(runs).is_dir():
        raise RecipeError(f"there is no {runs}, so nothing would be needed; say runs=DIRECTORY")
    found = upkeep.litter(opened, Path(runs))
    say("".join(f"{size(each.bytes):>8}  {each.path}  {each.what}\n" for each in found), end="")
    whole = f"{size(sum(each.bytes for each in found))} in {len(found)} places that no run in {runs} needs"
    say(whole if found else f"nothing to remove: every artifact is needed by a run in {runs}")
    if found and (yes or (sys.stdin.isatty() and input("remove them? [y/N] ").strip().lower() == "y")):
        upkeep.remove(opened, Path(runs), found)
        say("removed")
    elif found:
        say("nothing was removed; gc --yes removes it")


def _opened(place: str) -> Store:
    if not Path(place).is_dir():
        raise RecipeError(f"there is no store {place}; say store=DIRECTORY")
    return Store(Path(place))


@dataclass(frozen=True, kw_only=True)
class Command:
    """A command and the words that it takes: ``places`` one after the other, ``names`` as NAME=VALUE."""

    do: Callable[..., int | None]
    places: tuple[str, ...]
    names: tuple[str, ...]

    @property
    def summary(self) -> str:
        """What it does, in a line."""
        return str(self.do.__doc__)

    @property
    def usage(self) -> str:
        """Its words, for help."""
        named = (f"[{name}=...]" for name in self.names)
        return " ".join([*(place.upper() for place in self.places), *named])


def _command(do: Callable[..., int | None]) -> Command:
    parameters = {name: each for name, each in inspect.signature(do).parameters.items() if name != "yes"}
    places = tuple(name for name, each in parameters.items() if each.default is each.empty)
    return Command(do=do, places=places, names=tuple(name for name in parameters if name not in places))


RECIPES = ("run", "plan", "advance", "schedule")
"""The commands that take a recipe."""
COMMANDS = {do.__name__: _command(do) for do in (status, show, logs, why, diff, ui, verify, gc)}


def call(name: str, words: Sequence[str], yes: bool) -> int:
    """Run a command; returns the exit code.

    Raises:
        RecipeError: there is no such command, or it does not take these words.
    """
    if name not in COMMANDS:
        raise RecipeError(f"there is no command {name!r}{nearest(name, [*RECIPES, *COMMANDS])}")
    command = COMMANDS[name]
    placed = [word for word in words if "=" not in word]
    named = dict(word.split("=", 1) for word in words if "=" in word)
    for word in named:
        if word not in command.names:
            raise RecipeError(f"{name} knows no {word}={nearest(word, [f'{known}=' for known in command.names])}")
    if len(placed) != len(command.places):
        raise RecipeError(f"{name} takes {command.usage or 'no such words'}, not {' '.join(placed) or 'nothing'}")
    flags = {"yes": yes} if name == "gc" else {}
    return command.do(**dict(zip(command.places, placed, strict=True)), **named, **flags) or 0
