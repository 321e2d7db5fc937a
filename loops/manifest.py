"""What a finished step was, and whether its files are still those that it left.

The one decision: the manifest is written last and never again, so a file that is newer has been touched. At a glance
such a file and one of another size are seen; only a deep look reads every byte.
"""

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from stat import S_ISREG
from typing import Any

from loops.claims import SIGN

MANIFEST = "manifest.json"
SCRATCH = "scratch"
"""A directory that a stage may keep in its draft for its own resuming; it is never part of the artifact."""


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


def read(directory: Path) -> Manifest | None:
    """An artifact's manifest; None if it has none.

    Raises:
        ValueError: it is none that we wrote.
    """
    try:
        return parse((directory / MANIFEST).read_bytes(), directory.name)
    except FileNotFoundError:
        return None


def parse(text: bytes, key: str) -> Manifest:
    """The manifest of the artifact with this key.

    Raises:
        ValueError: it is none that we wrote.
    """
    try:
        manifest = Manifest(**json.loads(text.decode("utf-8")))
    except (ValueError, TypeError) as wrong:
        raise ValueError(f"{MANIFEST} cannot be read") from wrong
    if manifest.key != key:
        raise ValueError(f"{MANIFEST} is that of {manifest.key}")
    return manifest


def damage(directory: Path, manifest: Manifest, deep: bool) -> list[str]:
    """What is wrong with an artifact's files, a line a file.

    Args:
        deep: read every file, and not only those that look touched.
    """
    try:
        written = (directory / MANIFEST).stat().st_mtime_ns
    except FileNotFoundError:
        return [f"{MANIFEST} is gone"]
    found, sound = [], written
    for name, known in manifest.files.items():
        path = directory / name
        wrong, changed = _glance(path, name, known)
        if not wrong and (deep or changed > written):
            wrong = "" if sha256(path) == known["sha256"] else "has other contents"
        found += [f"{name} {wrong}"] if wrong else []
        sound = max(sound, changed)
    if sound > written and not found:  # copied, it seems: the next look is quick again
        os.utime(directory / MANIFEST, ns=(sound, sound))
    return found


def _glance(path: Path, name: str, known: dict[str, Any]) -> tuple[str, int]:
    """What can be seen without reading: what is wrong, and when the file was last changed, in nanoseconds."""
    if leads_out(name):
        return "leads out of the artifact", 0
    try:
        there = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return "is missing", 0
    if not S_ISREG(there.st_mode):
        return "is no file", 0
    if there.st_size != known["size"]:
        return f"has {there.st_size} bytes, not {known['size']}", there.st_mtime_ns
    return "", there.st_mtime_ns


def leads_out(name: str) -> bool:
    """Whether a file's name leads out of its artifact."""
    return PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts


def is_sound(path: Path, known: dict[str, Any]) -> bool:
    """Whether a file is there and has the size and the sha256 that its manifest says."""
    return path.is_file() and path.stat().st_size == known["size"] and sha256(path) == known["sha256"]


def inventory(directory: Path) -> dict[str, dict[str, Any]]:
    """Size and sha256 of every file below the directory, by relative path.

    Raises:
        ValueError: there is a link, and what an artifact holds must lie in the store.
    """
    there = [path for path in directory.rglob("*") if SCRATCH not in path.relative_to(directory).parts]
    for path in there:
        if path.is_symlink():
            raise ValueError(f"{path.relative_to(directory)} is a link to {os.readlink(path)}; an artifact holds none")
    files = sorted(path for path in there if path.is_file() and path.name not in (MANIFEST, SIGN))
    return {
        path.relative_to(directory).as_posix(): {"size": path.stat().st_size, "sha256": sha256(path)} for path in files
    }


def sha256(path: Path) -> str:
    """The sha256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
