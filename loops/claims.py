"""Who makes a step, where several processes and machines share a store.

The one decision: a draft's directory has its maker's name, ``drafts/<key>/<maker>``. To take a step over is to rename
it, which only one of many can do, and after which the former maker has nothing left to write to or to commit. So one
that was wrongly believed dead does no harm, and no lock is needed that a network's file system might not have.
"""

import errno
import hashlib
import os
import platform
import shutil
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

BEAT = 5.0
"""Seconds between two signs of life."""
PATIENCE = 60.0
"""Seconds without any after which a maker counts as dead, where it cannot be seen that it has died. Whoever waits
counts them by a clock of its own, which no jump of the time of day moves."""
POLL = 0.25
SIGN = ".claim"
"""A file in the draft, whose time of change is the sign of life. A directory without it was never claimed."""
FREE = "free"
"""The maker's name of a draft that nobody makes any more: the attempt failed."""


@contextmanager
def claim(place: Path, done: Callable[[], bool]) -> Iterator[Path | None]:
    """Hold a step as soon as nobody else does who lives, and give signs of life meanwhile.

    Args:
        place: ``drafts/<key>``, where the step's draft lies, if there is one.
        done: whether the step has been finished, by whoever held it.

    Yields:
        The draft, with what another attempt has left; None if the step is done.
    """
    draft = _hold(place, done)
    if draft is not None and done():  # it was finished between our last look and our claim
        shutil.rmtree(draft)
        with suppress(OSError):
            place.rmdir()
        draft = None
    if draft is None:
        yield None
        return
    over = threading.Event()
    try:
        (draft / SIGN).touch()
        threading.Thread(target=_beat, args=(draft / SIGN, over), daemon=True).start()
        yield draft
    finally:
        over.set()
        with suppress(OSError):
            draft.rename(place / FREE)
        with suppress(OSError):
            place.rmdir()


def living_maker(place: Path) -> bool:
    """Whether somebody makes this step, as far as can be seen at a glance."""
    with suppress(FileNotFoundError, NotADirectoryError):
        return any(is_maker(path.name) and not has_died(path.name) for path in place.iterdir())
    return False


def _hold(place: Path, done: Callable[[], bool]) -> Path | None:
    mine, signs = place / f"{_machine()}.{os.getpid()}.{_begun(os.getpid())}.{uuid.uuid4().hex[:8]}", _Signs()
    while not done():
        drafts = _drafts(place)
        if not drafts and _begin(mine):
            return mine
        if drafts and all(map(signs.are_over, drafts)):
            with suppress(FileNotFoundError):  # another was quicker
                drafts[0].rename(mine)
                return mine
        elif drafts:
            signs.wait(drafts[0])
    return None


def _begin(mine: Path) -> bool:
    """Make a draft in a place where there is none; whether nobody else was quicker."""
    aside = mine.parent.with_name(f".{mine.name}")
    (aside / mine.name).mkdir(parents=True)
    try:
        aside.rename(mine.parent)
    except OSError as taken:
        shutil.rmtree(aside)
        if taken.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        return False
    return True


def _drafts(place: Path) -> list[Path]:
    """The step's draft. There are two only if a maker that was overtaken goes on and makes its directory anew.

    Raises:
        FileExistsError: something else lies there.
    """
    try:
        found = sorted(place.iterdir())
    except FileNotFoundError:
        return []
    for other in found:
        if other.name != FREE and not is_maker(other.name):
            raise FileExistsError(f"{other} is no draft of ours; remove it")
    return found


class _Signs:
    """The signs of life that have been seen of makers, and when they changed."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[int | None, float]] = {}
        self._waiting = False

    def are_over(self, draft: Path) -> bool:
        """Whether the draft's maker has died or given no sign for long."""
        if draft.name == FREE or has_died(draft.name):
            return True
        sign = _time_of_change(draft / SIGN)
        before, since = self._seen.get(draft.name, (-1, 0.0))
        if sign != before:
            self._seen[draft.name] = sign, time.monotonic()
            return False
        return time.monotonic() > since + PATIENCE

    def wait(self, draft: Path) -> None:
        """Wait a little, and say once for whom."""
        if not self._waiting:
            machine, pid, *_ = draft.name.split(".")
            where = "" if machine == _machine() else " of another machine"
            print(f"  waiting: process {pid}{where} is at it already", flush=True)
        self._waiting = True
        time.sleep(POLL)


def _beat(sign: Path, over: threading.Event) -> None:
    """Give signs of life until it is over, or another has taken over."""
    while not over.wait(BEAT):
        try:
            os.utime(sign)
        except FileNotFoundError:
            return
        except OSError:
            continue  # a file system that does not answer for once


def _time_of_change(sign: Path) -> int | None:
    try:
        return sign.stat().st_mtime_ns
    except FileNotFoundError:
        return None


def is_maker(name: str) -> bool:
    """Whether it is a maker's name: machine, process, when that was begun, and a random part."""
    return name.count(".") == 3


def has_died(maker: str) -> bool:
    """Whether a maker of this machine is seen not to run any more; of others nothing can be seen."""
    machine, pid, begun, _ = maker.split(".")
    return machine == _machine() and begun != _begun(int(pid))


def _begun(pid: int) -> str:
    """When a process was begun, in the kernel's own ticks, which tell it from a later one of the same number.

    Empty if it does not run; where there is no /proc, ``runs`` if it does.
    """
    if not Path("/proc/self/stat").exists():
        try:
            os.kill(pid, 0)
        except OSError as refused:
            return "runs" if refused.errno == errno.EPERM else ""
        return "runs"
    try:
        state, *numbers = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return "" if state in "ZX" else numbers[18]


@cache
def _machine() -> str:
    """This machine since it was started, and the processes of it that we can see."""
    told = [platform.node()]
    with suppress(OSError):
        told += [Path("/proc/sys/kernel/random/boot_id").read_text(), os.readlink("/proc/self/ns/pid")]
    return hashlib.sha256("".join(told).encode()).hexdigest()[:8]
