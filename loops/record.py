"""What a run was asked to do, as plain JSON beside its links: ``runs/<name>/plan.json``.

The one decision: a run is looked at without its recipe. Whoever looks reads this file, the manifests and the logs, so
what is shown is what was planned, and not what the recipe says by now. The plan before is kept, to say what changed.
"""

import json
import os
import shlex
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from loops.errors import RecipeError, nearest
from loops.fingerprint import canonical
from loops.plan import Plan, Step
from loops.secrets import hidden
from loops.shared import opened
from loops.stage import signature
from loops.store import Store

FILE, BEFORE = "plan.json", "plan-before.json"


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """A step as it was planned. ``inputs`` are names of steps, ``kind`` is what it makes, ``stage`` its identity."""

    id: str
    node: str
    round: int
    key: str
    kind: str
    stage: dict[str, Any]
    inputs: dict[str, str]

    @property
    def type(self) -> str:
        """The class of its stage, by its full name."""
        return str(self.stage["type"])


@dataclass(frozen=True, kw_only=True)
class Record:
    """A run as it was planned.

    ``words`` are those of its command line, ``table`` the columns of its closing table, ``tracker`` the configuration
    of who was told, ``source`` the recipe as composed; ``run`` is what the run is called, ``place`` its directory, and
    ``store`` leads from there. ``stopped`` says why the last rounds are left out; ``key`` is that of all of them.
    """

    run: str
    place: Path
    name: str
    key: str
    store: str
    words: list[str]
    tracker: dict[str, Any]
    table: dict[str, str]
    source: str
    steps: list[Recorded]
    remote: str | None = None
    stopped: str = ""

    @property
    def command(self) -> str:
        """What runs it again, or on."""
        return shlex.join(["python", "-m", "loops", "run", *self.words])

    @cached_property
    def by_id(self) -> dict[str, Recorded]:
        """Its steps by name."""
        return {step.id: step for step in self.steps}

    def step(self, id: str) -> Recorded:
        """
        Raises:
            RecipeError: the run has no such step.
        """
        if id not in self.by_id:
            raise RecipeError(f"{self.run} has no step {id!r}{nearest(id, self.by_id)}")
        return self.by_id[id]

    def opened(self) -> Store:
        """The store that holds what it made; also what is away can be read."""
        store = opened(Path(os.path.normpath(self.place / self.store)), self.remote)
        store.look(step.key for step in self.steps)
        return store

    def metrics(self) -> dict[int, dict[str, float]]:
        """By round, ``<node>/<metric>`` of what has finished."""
        store, found = self.opened(), dict[int, dict[str, float]]()
        for step in self.steps:
            manifest = store.read(step.key)
            if manifest is not None:
                told = {f"{step.node}/{name}": value for name, value in manifest.metrics.items()}
                found.setdefault(step.round, {}).update(told)
        return found

    def file(self, step: Recorded, folder: str, end: str) -> Path:
        """The step's log or order, which the runner names."""
        return self.place / folder / f"{step.id.replace('/', '-')}{end}"


def recorded(step: Step) -> Recorded:
    """A step as it is written down."""
    return Recorded(
        id=step.id,
        node=step.node,
        round=step.round,
        key=step.key,
        kind=signature(step.stage).output.__name__,
        stage=canonical(step.stage),  # type: ignore[arg-type]
        inputs={name: source.id for name, source in step.inputs.items()},
    )


def write(
    place: Path, plan: Plan, store: Store, *, words: Sequence[str], tracker: Mapping[str, Any], table: Mapping[str, str]
) -> None:
    """Write down what a run is about to do. Another plan that was here becomes the one before."""
    record = {
        "name": plan.name,
        "key": plan.key,
        "remote": store.url,
        "store": os.path.relpath(store.root.resolve(), place.resolve()),
        "words": list(words),
        "tracker": dict(tracker),
        "table": dict(table),
        "source": plan.source,
        "steps": [asdict(recorded(step)) for step in plan.steps],
    }
    place.mkdir(parents=True, exist_ok=True)
    draft = _draft(place, record)
    with suppress(RecipeError):  # none is there, or none that can be read
        if read(place).key != plan.key:
            os.replace(place / FILE, place / BEFORE)
    os.replace(draft, place / FILE)


def stop(place: Path, plan: Plan, why: str) -> None:
    """Write down that a run has stopped early: what is left of its plan, and why."""
    told = json.loads((place / FILE).read_text(encoding="utf-8"))
    left = {step.id for step in plan.steps}
    told |= {"stopped": why, "steps": [step for step in told["steps"] if step["id"] in left]}
    os.replace(_draft(place, told), place / FILE)


def _draft(place: Path, record: Mapping[str, Any]) -> Path:
    draft = place / f".{FILE}.{os.getpid()}"
    draft.write_text(hidden(json.dumps(record, indent=1, allow_nan=False)), encoding="utf-8")
    return draft


def read(place: Path, file: str = FILE) -> Record:
    """A run's plan.

    Raises:
        RecipeError: there is none that can be read.
    """
    again = "say the command of that run again: it writes the plan, and makes nothing twice"
    try:
        told = json.loads((place / file).read_text(encoding="utf-8"))
        run = place.name if file == FILE else f"{place.name} before"
        return Record(**{**told, "run": run, "place": place, "steps": [Recorded(**step) for step in told["steps"]]})
    except FileNotFoundError as missing:
        there = [other.name for other in runs(place.parent)]
        hint = again if place.is_dir() else f"there is no such run{nearest(place.name, there)}"
        raise RecipeError(f"{place / file} is not there; {hint}") from missing
    except (ValueError, TypeError, KeyError) as wrong:
        raise RecipeError(f"{place / file} cannot be read; {again}") from wrong


def runs(folder: Path) -> list[Path]:
    """Every run in a folder that has a plan, the latest first."""
    plans = sorted(folder.glob(f"*/{FILE}"), key=lambda path: path.stat().st_mtime_ns, reverse=True)
    return [plan.parent for plan in plans]


def chosen(folder: Path, run: str) -> Record:
    """The run of this name, or the latest if no name is given.

    Raises:
        RecipeError: there is none.
    """
    latest = runs(folder)
    if not run and not latest:
        raise RecipeError(f"no run in {folder} has a {FILE}; begin one, or say runs=DIRECTORY")
    return read(folder / run if run else latest[0])
