"""Finished steps by key, each whole or absent.

The one decision: an artifact is written aside, flushed to disk, given its manifest last, and renamed into place.
"Half an artifact" is not a state that exists, and whoever renames first has made it.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

MANIFEST = "manifest.json"


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a finished step was. ``files`` maps each file's relative path to its size in bytes and its sha256."""

    key: str
    stage: dict[str, Any]
    inputs: dict[str, str]
    metrics: dict[str, float]
    seconds: float
    provenance: dict[str, Any]
    files: dict[str, dict[str, Any]]


class Store:
    """A directory of artifacts: ``artifacts/ab/abcd.../`` whole, ``drafts/abcd.../`` in the making."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, key: str) -> Path:
        """Where the artifact with this key lies, or would lie."""
        return self.root / "artifacts" / key[:2] / key

    def read(self, key: str) -> Manifest | None:
        """The manifest of a finished step, or None if there is none."""
        try:
            return Manifest(**json.loads((self.path(key) / MANIFEST).read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None

    def draft(self, key: str, resume: bool) -> Path:
        """A directory to write in: what an interrupted attempt left there if ``resume``, else empty."""
        draft = self.root / "drafts" / key
        if draft.exists() and not resume:
            shutil.rmtree(draft)
        draft.mkdir(parents=True, exist_ok=True)
        return draft

    def commit(self, draft: Path, manifest: Manifest) -> None:
        """Make the draft an artifact. If another was quicker, its artifact stays and the draft is dropped."""
        text = json.dumps(asdict(manifest), indent=1, allow_nan=False)
        _sync_tree(draft)
        (draft / MANIFEST).write_text(text, encoding="utf-8")
        _sync_tree(draft)
        target = self.path(manifest.key)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.rename(draft, target)
        except OSError:
            if self.read(manifest.key) is not None:
                shutil.rmtree(draft)
                return
            shutil.rmtree(target)  # what an interrupted deletion has left: no artifact
            os.rename(draft, target)
        _sync(target.parent)

    @contextmanager
    def claim(self, key: str) -> Iterator[None]:
        """Hold a step for this process. The operating system lets go of it when the process dies, however it dies."""
        from filelock import FileLock

        claims = self.root / "claims"
        claims.mkdir(parents=True, exist_ok=True)
        with FileLock(claims / f"{key}.lock"):
            yield


def inventory(directory: Path) -> dict[str, dict[str, Any]]:
    """Size and sha256 of every file below the directory, by relative path."""
    files = sorted(path for path in directory.rglob("*") if path.is_file() and path.name != MANIFEST)
    return {
        path.relative_to(directory).as_posix(): {"size": path.stat().st_size, "sha256": sha256(path)} for path in files
    }


def sha256(path: Path) -> str:
    """The sha256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync_tree(directory: Path) -> None:
    for path in [*directory.rglob("*"), directory]:
        _sync(path)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
