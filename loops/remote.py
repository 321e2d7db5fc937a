"""Finished steps in another place than here: a bucket, a server, any file system that fsspec speaks to.

The one decision: a file lies there under the sha256 of its bytes, ``files/ab/abcd...``, and a step's manifest is put
last, whole, as ``manifests/<key>.json``. So two makers of a step cannot mix their files, what was cut off is
nowhere mentioned, and one listing tells which steps have finished. What is pulled is compared with its sha256.
"""

import os
import re
import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from loops.claims import SIGN
from loops.errors import RecipeError, RemoteFailed
from loops.manifest import MANIFEST, Manifest, is_sound, leads_out, parse
from loops.secrets import IN_URL, hidden

EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs"}
"""The extra of this project that brings a protocol's package."""
WEIGHTY = 8_000_000
"""Bytes from which a file is not sent again if it is there. Of smaller ones asking takes as long as sending."""


class Remote:
    """A place that holds finished steps, behind the stores of any number of machines.

    It need not rename anything or keep times: only put an object whole, and list.

    Args:
        url: ``s3://BUCKET/PREFIX``, ``gs://...``, ``file:///...`` or a directory; credentials are the environment's.

    Raises:
        RecipeError: no such place can be spoken to.
    """

    def __init__(self, url: str) -> None:
        self._system, self._root = _opened(url)
        self.url = str(self._system.unstrip_protocol(self._root))

    @cached_property
    def keys(self) -> frozenset[str]:
        """The steps that it held when this was first asked: one listing."""
        listed: list[str] = []
        with self._asked(), suppress(FileNotFoundError):
            self._system.invalidate_cache()  # what a former listing of this process told
            listed = self._system.ls(self._at("manifests"), detail=False)
        return frozenset(PurePosixPath(name).stem for name in listed if name.endswith(".json"))

    def prepare(self) -> None:
        """See to it that it can be written to, before anything is made that is to go there."""
        with self._asked():
            self._system.pipe_file(self._at("selfloop.json"), b'{"layout": 1}\n')

    def manifests(self, keys: Iterable[str]) -> dict[str, Manifest]:
        """The manifests of those steps that it holds, all asked for at once. One that cannot be read is left out."""
        paths = {self._manifest(key): key for key in keys}
        if not paths:
            return {}
        with self._asked():
            told = self._system.cat(list(paths), on_error="return")
            for failure in told.values():
                if isinstance(failure, Exception) and not isinstance(failure, FileNotFoundError):
                    raise failure
        read = {paths[path]: _read(paths[path], text) for path, text in told.items() if isinstance(text, bytes)}
        return {key: manifest for key, manifest in read.items() if manifest is not None}

    def push(self, artifact: Path, manifest: Manifest) -> None:
        """Put an artifact there: its files, and when all of them are, its manifest.

        Raises:
            RemoteFailed: it is here, but not there.
        """
        print(f"  putting {_told(manifest, manifest.files.values())} into {hidden(self.url)}", flush=True)
        with self._asked():
            files = {self._file(known): artifact / name for name, known in manifest.files.items()}
            known = {self._file(known): known for known in manifest.files.values()}
            self._put({path: file for path, file in files.items() if not self._holds(path, known[path])})
            self._put({self._manifest(manifest.key): artifact / MANIFEST})

    def pull(self, manifest: Manifest, draft: Path) -> None:
        """Fetch an artifact's files; those that are in the draft already stay.

        Raises:
            RemoteFailed: they did not arrive whole. If they are damaged there, the artifact is now absent.
        """
        wanted = {draft / name: known for name, known in manifest.files.items()}
        missing = {path: known for path, known in wanted.items() if not is_sound(path, known)}
        print(f"  pulling {_told(manifest, missing.values())} from {hidden(self.url)}", flush=True)
        for path in missing:
            path.parent.mkdir(parents=True, exist_ok=True)
        with self._asked(), suppress(FileNotFoundError):  # gone there, or here if another took over: seen below
            if missing:
                self._system.get([self._file(known) for known in missing.values()], [str(path) for path in missing])
        torn = {path: known for path, known in missing.items() if not is_sound(path, known)}
        with self._asked():
            damaged = [known for path, known in torn.items() if self._is_damaged(path, known)]
            if damaged:
                self._condemn(manifest.key, damaged)
        if torn:
            why = "is damaged there, and will be made again" if damaged else "did not arrive whole"
            raise RemoteFailed(f"{self.url}: {manifest.key} {why}; run the same command again to go on")

    def _put(self, files: Mapping[str, Path]) -> None:
        """Put files at these places, each whole or not at all: a bucket does so, a file system gives a name last."""
        end = f".{uuid.uuid4().hex[:8]}" if getattr(self._system, "local_file", False) else ""
        if files:
            self._system.put([str(file) for file in files.values()], [f"{path}{end}" for path in files])
        for path in files if end else ():
            self._system.mv(f"{path}{end}", path)

    def _condemn(self, key: str, bad: Iterable[dict[str, Any]]) -> None:
        """Make an artifact absent, and with it the files that are not what their names say."""
        for path in [self._manifest(key), *map(self._file, bad)]:
            with suppress(FileNotFoundError):
                self._system.rm_file(path)

    def _is_damaged(self, path: Path, known: dict[str, Any]) -> bool:
        """Whether a file that did not arrive as it should is not as it should be there either."""
        try:
            size = self._system.info(self._file(known))["size"]
        except FileNotFoundError:
            return True
        return size != known["size"] or (path.exists() and path.stat().st_size == size)

    def _holds(self, path: str, known: dict[str, Any]) -> bool:
        if known["size"] < WEIGHTY:
            return False
        try:
            return bool(self._system.info(path)["size"] == known["size"])
        except FileNotFoundError:
            return False

    @contextmanager
    def _asked(self) -> Iterator[None]:
        """
        Raises:
            RemoteFailed: it did not answer, or refused.
        """
        try:
            yield
        except Exception as wrong:
            said = " ".join(f"{type(wrong).__name__}: {wrong}".split())[:300]
            raise RemoteFailed(f"{self.url}: {said}; what is made is kept here: run the same command again") from wrong

    def _at(self, name: str) -> str:
        return f"{self._root.rstrip('/')}/{name}"

    def _manifest(self, key: str) -> str:
        return self._at(f"manifests/{key}.json")

    def _file(self, known: dict[str, Any]) -> str:
        return self._at(f"files/{known['sha256'][:2]}/{known['sha256']}")


def _opened(url: str) -> tuple[Any, str]:
    import fsspec
    from fsspec.utils import get_protocol

    if not isinstance(url, str):
        raise RecipeError(f"remote: expected an address such as s3://BUCKET/PREFIX, got {url!r}")
    if IN_URL.search(url):
        raise RecipeError("remote: an address is written down, so it holds no password; put that into the environment")
    protocol = get_protocol(url)
    local = protocol in ("file", "local")
    try:
        system, root = fsspec.url_to_fs(url, **({"auto_mkdir": True} if local else {}))
    except (ImportError, ValueError) as wrong:
        extra = EXTRAS.get(protocol)
        way = f"; pip install 'selfloop[{extra}]'" if extra and isinstance(wrong, ImportError) else ""
        raise RecipeError(f"remote: {url}: {' '.join(str(wrong).split())}{way}") from wrong
    return system, os.path.normpath(root) if local else root


def _read(key: str, text: bytes) -> Manifest | None:
    """A manifest that somebody put there; None if it is none that we would have put there."""
    try:
        found = parse(text, key)
        return found if all(_is_named(name, known) for name, known in found.files.items()) else None
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def _is_named(name: str, known: dict[str, Any]) -> bool:
    whole = isinstance(known["size"], int) and re.fullmatch(r"[0-9a-f]{64}", known["sha256"]) is not None
    return whole and not leads_out(name) and name not in (MANIFEST, SIGN)


def _told(manifest: Manifest, files: Collection[dict[str, Any]]) -> str:
    kind = str(manifest.stage.get("type")).rpartition(".")[2]
    return f"{kind} {manifest.key}, {len(files)} files, {sum(known['size'] for known in files) / 1e6:.1f} MB,"
