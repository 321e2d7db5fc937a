"""A run as a report sees it: the steps of its plan that have finished, with what they measured and made.

The one decision: what a step is about is told by the kind of what it makes, never by what the recipe calls it.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loops.manifest import Manifest
from loops.record import Record, Recorded


@dataclass(frozen=True, kw_only=True)
class Made:
    """A step that has finished."""

    step: Recorded
    manifest: Manifest
    path: Path

    @property
    def metrics(self) -> dict[str, float]:
        """What it measured."""
        return self.manifest.metrics

    @property
    def digest(self) -> str:
        """A sha256 of the artifact: of the names of its files and their sha256."""
        named = {name: known["sha256"] for name, known in sorted(self.manifest.files.items())}
        return hashlib.sha256(json.dumps(named).encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A run and what has finished of it, in the order of the plan."""

    record: Record
    made: list[Made]

    def of_kind(self, kind: str) -> Iterator[Made]:
        """Those that make this kind."""
        return (each for each in self.made if each.step.kind == kind)

    def reads(self, each: Made, kind: str) -> bool:
        """Whether a step reads something of this kind."""
        return any(self.record.step(source).kind == kind for source in each.step.inputs.values())

    @property
    def last_round(self) -> int:
        """The last of which something has finished."""
        return max((each.step.round for each in self.made), default=0)

    def by_round(self, each: str) -> dict[int, dict[str, float]]:
        """A node's metrics by round."""
        return {found.step.round: found.metrics for found in self.made if found.step.node == each}


def seen(record: Record) -> Seen:
    """What there is of a run. Tables that are away are fetched, models are not."""
    store = record.opened()
    read = [(step, (store.read if step.kind == "Model" else store.fetch)(step.key)) for step in record.steps]
    made = [Made(step=step, manifest=found, path=store.path(step.key)) for step, found in read if found is not None]
    return Seen(record=record, made=made)


def training_curve(each: Made) -> list[dict[str, Any]]:
    """What a training measured at each of its optimizer's steps; empty if it kept no curve."""
    file = each.path / "curve.jsonl"
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    return [json.loads(line) for line in lines]
