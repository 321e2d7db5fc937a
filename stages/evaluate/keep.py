"""Hands on one of two models, as a verdict says.

The one decision: nothing is copied and nothing gets a new identity. Files are hard links, and the model that is handed
on says whose weights it holds, so that whatever compares identities (a training's reference, carried log-probs) sees
the same model as before.
"""

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from stages.artifacts import HANDED_ON, Model, Report
from stages.foreseen import Foreseen, Size

OWN = {"manifest.json", "curve.jsonl", "plots", HANDED_ON}
"""What belongs to the step that made a model and not to the model. Whoever shares the manifest would overwrite it."""


@dataclass(frozen=True, kw_only=True)
class Keep:
    """The incumbent if the verdict's ``kept_incumbent`` is 1, else the candidate."""

    VERSION: ClassVar[int] = 1

    def foresee(self, *, verdict: Size, candidate: Size, incumbent: Size) -> Foreseen:
        """Links to a model's files, which take no room."""
        return Foreseen(size=replace(candidate, bytes=0.0))

    def __call__(self, *, verdict: Report, candidate: Model, incumbent: Model, out: Model) -> Mapping[str, float]:
        """One of the two, whole."""
        kept = bool(verdict.read()["kept_incumbent"])
        model = incumbent if kept else candidate
        for file in sorted(model.path.rglob("*")):
            relative = file.relative_to(model.path)
            if file.is_file() and relative.parts[0] not in OWN:
                (out.path / relative).parent.mkdir(parents=True, exist_ok=True)
                _link(file, out.path / relative)
        (out.path / HANDED_ON).write_text(json.dumps({"identity": model.identity}), encoding="utf-8")
        return {"kept_incumbent": float(kept)}


def _link(file: Path, place: Path) -> None:
    """The same file at another place; a copy where the file system has no hard links."""
    try:
        os.link(file, place, follow_symlinks=True)
    except OSError:
        shutil.copyfile(file, place)
