"""What a pinned repository of the hub is."""

import re
from pathlib import Path


def check_pinned(repo: str, revision: str) -> None:
    """
    Raises:
        ValueError: the revision is a branch or a tag, which may come to mean something else; or the repository is no
            OWNER/NAME, or is a folder here, which the libraries would read in its place, whatever the revision.
    """
    if not re.fullmatch(r"[0-9a-f]{40}", revision):
        raise ValueError(f"revision must be a commit (40 hexadecimal digits), not {revision!r}; a branch or tag moves")
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9_][\w.-]*", repo, flags=re.ASCII):
        raise ValueError(f"repo is OWNER/NAME on the hub, not {repo!r}")
    if Path(repo).exists():
        raise ValueError(f"{repo} is a folder here, which would be read in place of the hub's; stand somewhere else")
