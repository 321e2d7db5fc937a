"""Finished steps by key, each whole or absent.

The one decision: an artifact is written aside, flushed to disk, given its manifest last, and renamed into place.
"Half an artifact" is not a state that exists, and whoever renames first has made it. One whose files are not any more
those that were made is absent, and is replaced when it has been made again.
"""

import json
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from loops import manifest
from loops.claims import SIGN, claim
from loops.errors import StepFailed
from loops.manifest import MANIFEST, SCRATCH, Manifest


class Store:
    """A directory of artifacts: ``artifacts/ab/abcd.../`` whole, ``drafts/abcd.../`` in the making.

    What may lie elsewhere is known to ``loops.shared.Shared``; to this one there is no elsewhere, so ``url`` is None.
    """

    url: str | None = None

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, key: str) -> Path:
        """Where the artifact with this key lies, or would lie."""
        return self.root / "artifacts" / key[:2] / key

    def drafts(self, key: str) -> Path:
        """Where it is made: in a directory with its maker's name."""
        return self.root / "drafts" / key

    def read(self, key: str) -> Manifest | None:
        """The manifest of a finished step, or None if there is none or its files are seen to be damaged."""
        return self._here(key)

    def fetch(self, key: str) -> Manifest | None:
        """The same, of an artifact whose files are here when this returns, wherever they were before."""
        return self.read(key)

    def look(self, keys: Iterable[str]) -> None:
        """See which of these steps lie elsewhere, so that they can be read."""

    def away(self, keys: Iterable[str]) -> set[str]:
        """Those of these steps that lie elsewhere only; quicker than to look, for no manifest is read."""
        return set()

    def share(self, keys: Iterable[str]) -> None:
        """Put what lies here only elsewhere too."""

    def damage(self, key: str, deep: bool = False) -> list[str]:
        """What is wrong with an artifact, a line a file; nothing is wrong with one that is not there."""
        return self._look(key, deep)[1]

    def keys(self) -> list[str]:
        """Those of all artifacts that have a manifest."""
        return sorted(path.parent.name for path in self.root.glob(f"artifacts/*/*/{MANIFEST}"))

    def condemn(self, key: str) -> None:
        """Make a damaged artifact absent. Its files stay until it has been made again."""
        (self.path(key) / MANIFEST).unlink(missing_ok=True)

    def made_at(self, key: str) -> int | None:
        """When the artifact was made, in nanoseconds; None if it is not there."""
        try:
            return (self.path(key) / MANIFEST).stat().st_mtime_ns
        except FileNotFoundError:
            return None

    @contextmanager
    def claim(self, key: str, resumes: str | None = None) -> Iterator[Path | None]:
        """Hold a step for this process.

        Args:
            resumes: the code that goes on with what an attempt before has left, if the same code has left it; None for
                a stage that begins anew.

        Yields:
            A directory to write in; None if the step is done, perhaps by another process, for which this one has
            waited.
        """
        with claim(self.drafts(key), done=lambda: self.read(key) is not None) as draft:
            if draft and (resumes is None or (draft / SIGN).read_text(encoding="utf-8") != resumes):
                _empty(draft)
                (draft / SIGN).write_text(resumes or "", encoding="utf-8")
            yield draft

    def commit(self, draft: Path, manifest: Manifest) -> bool:
        """Make the draft an artifact. If another was quicker, its artifact stays and the draft is dropped.

        The signs of life go on while files are flushed, and what a stage would resume from stays until the last moment:
        a kill in between loses nothing.

        Returns:
            Whether it was this one that made the artifact.

        Raises:
            StepFailed: another process has taken the draft over, for this one gave no signs of life.
        """
        text = json.dumps(asdict(manifest), indent=1, allow_nan=False)
        target, aside = self.path(manifest.key), self.root / "drafts" / f".{manifest.key}.{uuid.uuid4().hex[:8]}"
        if (draft / SIGN).exists():
            (draft / MANIFEST).write_text(text, encoding="utf-8")
            _sync_tree(draft)
        target.parent.mkdir(parents=True, exist_ok=True)
        aside.mkdir(parents=True)
        try:
            (draft / SIGN).unlink()
        except FileNotFoundError as gone:
            aside.rmdir()
            raise StepFailed("this process seemed dead, so another one has taken the step over") from gone
        if (draft / SCRATCH).exists():
            os.rename(draft / SCRATCH, aside / SCRATCH)
        late = self._here(manifest.key) is not None
        if late:
            os.rename(draft, aside / "late")
        else:
            if target.exists():  # damaged, or what an interrupted deletion has left: no artifact
                os.rename(target, aside / "damaged")
            os.rename(draft, target)
            _sync(target.parent)
        shutil.rmtree(aside)
        return not late

    def _here(self, key: str) -> Manifest | None:
        found, damage = self._look(key, deep=False)
        return None if damage else found

    def _look(self, key: str, deep: bool) -> tuple[Manifest | None, list[str]]:
        try:
            found = manifest.read(self.path(key))
        except ValueError as wrong:
            return None, [str(wrong)]
        return found, manifest.damage(self.path(key), found, deep) if found else []


def _empty(directory: Path) -> None:
    for path in directory.iterdir():
        if path.name == SIGN:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _sync_tree(directory: Path) -> None:
    """Flush all that becomes the artifact."""
    for path in [*directory.rglob("*"), directory]:
        if SCRATCH not in path.relative_to(directory).parts:
            _sync(path)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
