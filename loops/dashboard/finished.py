"""A step that has finished, as a dashboard is told of it.

The one decision: everything is read from the store, so what was made long ago is told like what was made just now.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loops.manifest import Manifest
from loops.plan import Step
from loops.stage import signature
from loops.store import Store


@dataclass(frozen=True, kw_only=True)
class Finished:
    """A step and what it made, now or (``cached``) before."""

    step: Step
    manifest: Manifest
    artifact: Path
    cached: bool

    @property
    def place(self) -> tuple[str, str]:
        """Where the step stands in its loop, and its key: what it is known by."""
        return self.step.id, self.step.key

    @property
    def numbers(self) -> dict[str, float]:
        """Its metrics, and how long it took."""
        return {**self.manifest.metrics, "seconds": self.manifest.seconds}

    @property
    def ended(self) -> int:
        """When it was made, in milliseconds; of one whose files are away, now."""
        file = self.artifact / "manifest.json"
        return int((file.stat().st_mtime if file.exists() else time.time()) * 1000)

    @property
    def begun(self) -> int:
        """When its making began, in milliseconds."""
        return self.ended - int(self.manifest.seconds * 1000)

    @property
    def is_here(self) -> bool:
        """Whether its files and those of what it read are on this machine."""
        read = (self.artifact_of(source) for source in self.step.inputs.values())
        return all(place.is_dir() for place in (self.artifact, *read))

    def artifact_of(self, step: Step) -> Path:
        """What another step of the same store has made."""
        return Store(self.artifact.parents[2]).path(step.key)

    def made(self) -> Any:
        """The artifact, as its kind."""
        return signature(self.step.stage).output(self.artifact)

    def inputs(self) -> dict[str, Any]:
        """What it read by the names of its inputs, each as its kind."""
        kinds = signature(self.step.stage).inputs
        return {name: kinds[name](self.artifact_of(source)) for name, source in self.step.inputs.items()}
