"""Where a step runs. None of this is identity: the same order gives the same artifact anywhere."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from loops.errors import StepFailed
from loops.worker import work


class Executor(Protocol):
    """Runs orders, up to ``workers`` of them at once."""

    workers: int

    def run(self, order: Path) -> None:
        """Carry out the order and return when it is done, or raise StepFailed."""

    def stop(self, now: bool) -> None:
        """Let go of what the executor holds; ``now`` ends at once whatever is still running."""


@dataclass(kw_only=True)
class Inline:
    """In this process. For debugging, notebooks and tests."""

    workers: int = 1

    def run(self, order: Path) -> None:
        """Carry out the order here."""
        work(order)

    def stop(self, now: bool) -> None:
        """Nothing runs beside this process."""


@dataclass(kw_only=True)
class Local:
    """In worker processes of this machine, kept warm so that imports are paid once.

    Args:
        workers: how many steps may run at once.
        environment: set for the workers where the user has not set it, such as the allocator's settings.
    """

    workers: int = 1
    environment: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._pool: ProcessPoolExecutor | None = None
        self._lock = threading.Lock()

    def run(self, order: Path) -> None:
        """Carry out the order in a warm worker, or in a new one if the last has died."""
        pool = self._warm()
        try:
            pool.submit(work, order).result()
        except BrokenProcessPool:
            with self._lock:
                if self._pool is pool:
                    self._pool = None
            raise StepFailed("the worker process died (killed, or out of memory?)") from None

    def stop(self, now: bool) -> None:
        """End the workers; what one had not finished when it was ended ``now`` stays a draft."""
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            for process in list((pool._processes or {}).values()) if now else []:
                process.kill()
            pool.shutdown(wait=True, cancel_futures=True)

    def _warm(self) -> ProcessPoolExecutor:
        with self._lock:
            if self._pool is None:
                for name, value in self.environment.items():
                    os.environ.setdefault(name, value)
                context = multiprocessing.get_context("spawn")
                self._pool = ProcessPoolExecutor(self.workers, mp_context=context, initializer=_begin_worker)
            return self._pool


def _begin_worker() -> None:
    """Leave Ctrl-C to the runner, and do not outlive it however it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
