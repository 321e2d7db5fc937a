"""Weights that another step made, in a new place.

The one decision: nothing is copied and nothing gets a new identity. Files are hard links, and the model that is handed
on says whose weights it holds, so that whatever compares identities (a training's reference, carried log-probs) sees
the same model as before.
"""

import json
import os
import shutil
from pathlib import Path

from stages.artifacts import HANDED_ON, Model

OWN = {"manifest.json", "curve.jsonl", "plots", HANDED_ON}
"""What belongs to the step that made a model and not to the model. Whoever shares the manifest would overwrite it."""


def hand_on(model: Model, folder: Path) -> None:
    """The whole model at another place."""
    for file in sorted(model.path.rglob("*")):
        relative = file.relative_to(model.path)
        if file.is_file() and relative.parts[0] not in OWN:
            (folder / relative).parent.mkdir(parents=True, exist_ok=True)
            _link(file, folder / relative)
    (folder / HANDED_ON).write_text(json.dumps({"identity": model.identity}), encoding="utf-8")


def same_files(first: Path, second: Path) -> bool:
    """Whether two models' weights are the same files, by hard links."""
    files, others = ({path.name: path for path in folder.glob("*.safetensors")} for folder in (first, second))
    return bool(files) and files.keys() == others.keys() and all(files[name].samefile(others[name]) for name in files)


def _link(file: Path, place: Path) -> None:
    """The same file at another place; a copy where the file system has no hard links."""
    try:
        os.link(file, place, follow_symlinks=True)
    except OSError:
        shutil.copyfile(file, place)
