"""A store whose steps lie in a remote too: what is made here is put there, and what is there is fetched when needed.

The one decision: the directory is where work is done and read, and the remote only holds what has finished. A step that
is away is known by its manifest; its files come when a step reads them. Who makes a step is settled by the directory,
so of machines that share nothing but the remote two may make the same step, and either result is whole.
"""

from collections.abc import Iterable
from pathlib import Path

from loops.manifest import Manifest
from loops.remote import Remote
from loops.store import Store

FEW = 8
"""Steps that are asked for one by one. Of more it is listed first which there are, in one request for a thousand."""
PULLED = "pulled"
"""What a draft is signed with that is being fetched: an attempt that was cut off is gone on with."""


class Shared(Store):
    """A store with a remote behind it."""

    def __init__(self, root: Path, remote: Remote) -> None:
        super().__init__(root)
        self.url, self._remote = remote.url, remote
        self._away: dict[str, Manifest] = {}

    def read(self, key: str) -> Manifest | None:
        """The manifest of a finished step that is here and sound, or is away and was looked for."""
        return self._here(key) or self._away.get(key)

    def look(self, keys: Iterable[str]) -> None:
        """Read the manifests of those steps that are away.

        Raises:
            RemoteFailed: the remote did not answer.
        """
        absent = [key for key in dict.fromkeys(keys) if self.read(key) is None]
        listed = self._remote.keys if len(absent) > FEW else absent
        self._away |= self._remote.manifests(key for key in absent if key in listed)

    def away(self, keys: Iterable[str]) -> set[str]:
        """Those of these steps that are away, from one listing.

        Raises:
            RemoteFailed: the remote did not answer.
        """
        return {key for key in keys if self._here(key) is None and key in self._remote.keys}

    def fetch(self, key: str) -> Manifest | None:
        """The manifest of an artifact whose files are here; they are pulled if they were away.

        Raises:
            RemoteFailed: they could not be had, or not whole.
        """
        self._away.pop(key, None)
        for found in self._remote.manifests([key] if self._here(key) is None else []).values():
            with self.claim(key, PULLED) as draft:
                if draft is not None:
                    self._remote.pull(found, draft)
                    super().commit(draft, found)
        return self._here(key)

    def share(self, keys: Iterable[str]) -> None:
        """Put into the remote what is here and not there, be it nothing: so it is seen whether that can be done.

        Raises:
            RemoteFailed: it cannot.
        """
        self._remote.prepare()
        for key in dict.fromkeys(keys):
            found = None if key in self._remote.keys else self._here(key)
            if found:
                self._remote.push(self.path(key), found)

    def commit(self, draft: Path, manifest: Manifest) -> bool:
        """Make the draft an artifact, and then put it into the remote.

        Raises:
            StepFailed: another process has taken the draft over.
            RemoteFailed: it is made, but lies here only. Sharing it later is enough.
        """
        made = super().commit(draft, manifest)
        if made:
            self._remote.push(self.path(manifest.key), manifest)
        return made


def opened(root: Path, remote: str | None) -> Store:
    """The store in this directory, with what is behind it, if anything is.

    Raises:
        RecipeError: nobody can speak to such a remote.
    """
    return Shared(root, Remote(remote)) if remote else Store(root)
