"""What would be written to the terminal, by this process and by those that it begins, handed over line by line instead.

The one decision: the file descriptors are taken, not Python's ``sys.stdout``. So compiled libraries and worker
processes are caught too, and find no terminal on which they would draw bars of their own.
"""

import os
import select
import sys
from collections.abc import Callable
from contextlib import suppress
from threading import Event, Thread


class Captured:
    """From now on, until ``end``.

    Args:
        say: gets each line, from a thread of its own. A terminal that has gone stops nothing.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say, self._over = say, Event()
        self._read, write = os.pipe()
        _flush()
        self._kept = {descriptor: os.dup(descriptor) for descriptor in (1, 2) if os.isatty(descriptor)}
        for descriptor in self._kept:
            os.dup2(write, descriptor)
        os.close(write)
        self._thread = Thread(target=self._work, daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Give the terminal back, after what was written before has been handed over."""
        _flush()
        while self._kept:
            descriptor, kept = self._kept.popitem()
            os.dup2(kept, descriptor)
            os.close(kept)
        self._over.set()
        self._thread.join()

    def _work(self) -> None:
        """Until it is over, or the pipe's end, which a process that outlives us might hold open."""
        rest = b""
        while not self._over.is_set() or self._waits():
            if self._waits(0.1):
                chunk = os.read(self._read, 65536)
                *lines, rest = (rest + chunk).split(b"\n")
                self._hand_over(lines)
                if not chunk:
                    break
        self._hand_over([rest] if rest else [])
        os.close(self._read)

    def _waits(self, seconds: float = 0.0) -> bool:
        return bool(select.select([self._read], [], [], seconds)[0])

    def _hand_over(self, lines: list[bytes]) -> None:
        for line in lines:
            shown = line.rstrip(b"\r").rpartition(b"\r")[2]  # of a bar that overwrites itself, what was last
            with suppress(OSError):
                self._say(shown.decode("utf-8", errors="backslashreplace"))


def _flush() -> None:
    sys.stdout.flush()
    sys.stderr.flush()
