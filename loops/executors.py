"""Where a step runs. None of this is identity: the same order gives the same artifact anywhere."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Protocol

from loops.errors import StepFailed
from loops.worker import work


class Executor(Protocol):
    """Runs orders, up to ``workers`` of them at once."""

    @property
    def workers(self) -> int:
        """How many steps may run at once."""

    def run(self, order: Path) -> None:
        """Carry out the order and return when it is done, or raise StepFailed."""

    def stop(self, now: bool) -> None:
        """Let go of what the executor holds; ``now`` ends at once whatever is still running."""


@dataclass(kw_only=True)
class Inline:
    """In this process, one at a time. For debugging, notebooks and tests."""

    workers: ClassVar[int] = 1
    here: ClassVar[bool] = True
    """Steps run on this machine, so what cannot fit into it is refused while planning."""

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

    here: ClassVar[bool] = True

    workers: int = 1
    environment: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise ValueError(f"workers must be at least 1, not {self.workers}")
        self._idle: list[ProcessPoolExecutor] = []
        self._busy: list[ProcessPoolExecutor] = []

    def run(self, order: Path) -> None:
        """Carry out the order in a worker that is warm, or in a new one. One that died takes no other with it."""
        try:
            pool = self._idle.pop()
        except IndexError:
            pool = self._new_worker()
        self._busy.append(pool)
        try:
            _submit(pool, order).result()
        except BrokenProcessPool:
            self._busy.remove(pool)
            raise StepFailed("the worker process died (killed, or out of memory?)") from None
        except StepFailed:
            self._rest(pool)
            raise
        self._rest(pool)

    def stop(self, now: bool) -> None:
        """End the workers; what one had not finished when it was ended ``now`` stays a draft."""
        pools, self._idle, self._busy = [*self._idle, *self._busy], [], []
        for pool in pools:
            for process in list((pool._processes or {}).values()) if now else []:
                process.kill()
            pool.shutdown(wait=True, cancel_futures=True)

    def _rest(self, pool: ProcessPoolExecutor) -> None:
        self._busy.remove(pool)
        self._idle.append(pool)

    def _new_worker(self) -> ProcessPoolExecutor:
        for name, value in self.environment.items():
            os.environ.setdefault(name, value)
        context = multiprocessing.get_context("spawn")
        return ProcessPoolExecutor(1, mp_context=context, initializer=_begin_worker)


def _submit(pool: ProcessPoolExecutor, order: Path) -> Future[None]:
    """Submit with Ctrl-C held back, so that a worker that is being started cannot hear it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        return pool.submit(work, order)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin_worker() -> None:
    """Leave Ctrl-C to the runner, and do not outlive it however it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
