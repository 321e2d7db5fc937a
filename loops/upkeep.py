"""Looking after a store: is everything still what was made, and what does nobody need any more?

The one decision: what a run needs is what ``runs/<name>`` links or has ordered. Whoever wants to keep a run keeps that
directory, and whoever deletes it gives its artifacts free.
"""

import os
import shutil
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.progress import track

from loops.claims import has_died, is_maker, living_maker
from loops.console import say
from loops.store import Store


@dataclass(frozen=True, kw_only=True)
class Litter:
    """Something in the store that no run needs."""

    path: Path
    bytes: int
    what: str


def verify(store: Store, runs: Path) -> bool:
    """Read every byte of every artifact; condemn those that are damaged, and say what will be made again.

    Returns:
        Whether all are sound.
    """
    names, keys, damaged = _names(runs), store.keys(), 0
    for key in track(keys, "reading", transient=True):
        made_at = store.made_at(key)
        wrong = store.damage(key, deep=True)
        if wrong and store.made_at(key) == made_at:
            damaged += 1
            say("\n".join(f"{store.path(key)}: {line}" for line in wrong))
            say(f"  the next run makes it again: {', '.join(names.get(key, ['no run needs it']))}")
            store.condemn(key)
    say(f"{len(keys)} artifacts read: " + (f"{damaged} damaged" if damaged else "all are what was made"))
    return not damaged


def litter(store: Store, runs: Path) -> list[Litter]:
    """Artifacts and drafts that no run in ``runs`` links or has ordered, but for drafts whose maker lives."""
    needed = set(_names(runs)) | {_ordered(order) for order in runs.glob("*/orders/*.json")}
    found = [(path, path.name) for path in sorted(store.root.glob("artifacts/*/*"))]
    drafts = [path for path in sorted(store.root.glob("drafts/*")) if not _is_made(path)]
    found += [(path, path.name if store.read(path.name) is None else "") for path in drafts]
    return [Litter(path=path, bytes=_bytes(path), what=_what(store, path)) for path, key in found if key not in needed]


def remove(store: Store, runs: Path, found: list[Litter]) -> None:
    """Remove it, unless a run has come to need it meanwhile. An artifact is absent at once, and only then are its files
    deleted."""
    still = {each.path for each in litter(store, runs)}
    for each in found:
        if each.path in still:
            aside = store.root / "drafts" / f".{each.path.name}.{uuid.uuid4().hex[:8]}"
            aside.parent.mkdir(exist_ok=True)
            os.rename(each.path, aside)
            if aside.is_dir() and not aside.is_symlink():
                shutil.rmtree(aside)
            else:
                aside.unlink()


def _names(runs: Path) -> dict[str, list[str]]:
    """By key, what the runs call it."""
    names: dict[str, list[str]] = {}
    for link in sorted(runs.glob("*/*/*")):
        if link.is_symlink():
            names.setdefault(os.path.basename(os.readlink(link)), []).append(link.relative_to(runs).as_posix())
    return names


def _ordered(order: Path) -> str:
    return order.stem.rpartition("-")[2]


def _is_made(draft: Path) -> bool:
    """Whether somebody who lives writes there, be it only to begin (``.maker``)."""
    maker = draft.name.removeprefix(".")
    return living_maker(draft) or (draft.name.startswith(".") and is_maker(maker) and not has_died(maker))


def _what(store: Store, path: Path) -> str:
    if path.parent.name == "drafts":
        return "left by an attempt that did not finish"
    manifest = store.read(path.name)
    if manifest is None:
        return "damaged"
    return f"{str(manifest.stage['type']).rpartition('.')[2]}, which took {manifest.seconds:.0f} s"


def _bytes(directory: Path) -> int:
    return sum(file.lstat().st_size for file in _files(directory))


def _files(directory: Path) -> Iterator[Path]:
    return (path for path in directory.rglob("*") if path.is_file() and not path.is_symlink())
