"""Files that are believed because they are there."""

import os
from pathlib import Path


def put(draft: Path, path: Path) -> None:
    """Rename a finished file into place, flushed to disk before, so that a power cut leaves it whole or absent."""
    with draft.open("rb") as file:
        os.fsync(file.fileno())
    os.replace(draft, path)
