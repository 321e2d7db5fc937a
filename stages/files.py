"""What a local file is known by."""

import hashlib
from pathlib import Path


def file_hash(path: str) -> str:
    """The sha256 of a file's bytes.

    Raises:
        ValueError: it is not there.
    """
    if not Path(path).is_file():
        raise ValueError(f"{path}: there is no such file")
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
