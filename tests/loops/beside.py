"""What a test sees of processes beside it, and how it waits for that.

The one decision: a test waits for what it can see, never for a time in which something should have happened, so that
it says the same on a busy machine.
"""

import time
from contextlib import suppress
from pathlib import Path


def being_made(place):
    """The files ``half`` that toys have written into drafts which somebody makes; ``place`` holds the store."""
    with suppress(FileNotFoundError):  # what is listed may be gone a moment later
        return list(Path(place).glob("store/drafts/[!.]*/*.*.*.*/half"))
    return []


def wait_for(seen, running=None, seconds=90):
    """Wait until something is seen, and return it. A process that is ``running`` must not end before."""
    end = time.monotonic() + seconds
    while not (found := seen()):
        assert running is None or running.poll() is None, running.communicate()
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)
    return found


def alive(pid):
    """Whether this process runs."""
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().split(")")[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
