"""What a pinned revision is."""

import re


def check_revision(revision: str) -> None:
    """
    Raises:
        ValueError: it is a branch or a tag, which may come to mean something else.
    """
    if not re.fullmatch(r"[0-9a-f]{40}", revision):
        raise ValueError(f"revision must be a commit (40 hexadecimal digits), not {revision!r}; a branch or tag moves")
