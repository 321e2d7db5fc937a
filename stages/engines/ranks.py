"""Processes of this machine that compute one thing together, each with its share of every model.

The one decision: all of them do the same with the same, and what the first one makes counts. So whoever passes
something through a model need not know of it; only who loads a model asks how many share it.
"""

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

T = TypeVar("T")
_size = 1


def size() -> int:
    """How many processes share each model with this one, itself included."""
    return _size


class Ranks:
    """So many processes, which wait for something to do and end with this one."""

    def __init__(self, size: int) -> None:
        from accelerate.utils.other import get_free_port

        self.size, port = size, get_free_port()
        context = multiprocessing.get_context("spawn")
        self._pools = [
            ProcessPoolExecutor(1, mp_context=context, initializer=_begin, initargs=(rank, size, port))
            for rank in range(size)
        ]

    def do(self, make: Callable[[T], Any], part: T) -> Any:
        """What ``make``, which is sent there with all that it holds, makes of the part.

        Raises:
            Exception: that of one of them, for which the others may wait: none of them is of use any more.
            RuntimeError: one of them died.
        """
        import cloudpickle

        told = cloudpickle.dumps((make, part))
        try:
            asked = [pool.submit(_made, rank, told) for rank, pool in enumerate(self._pools)]
            for done in wait(asked, return_when=FIRST_EXCEPTION).done:
                done.result()
            return cloudpickle.loads(asked[0].result())
        except BrokenProcessPool:
            raise RuntimeError(f"one of {self.size} processes died that share a model (out of memory?)") from None

    def end(self) -> None:
        """End them at once, and with them what they hold."""
        for pool in self._pools:
            for process in list((pool._processes or {}).values()):
                process.kill()
            pool.shutdown(wait=True, cancel_futures=True)


def named(rank: int, size: int, port: int) -> dict[str, str]:
    """The variables by which torch's processes know one another."""
    own = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "LOCAL_WORLD_SIZE": size, "MASTER_PORT": port}
    return {"MASTER_ADDR": "127.0.0.1", **{name: str(value) for name, value in own.items()}}


def end_with_parent() -> None:
    """From now on, end as soon as the process that started this one does, however it ends."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def quiet(rank: int) -> None:
    """Only the first of several processes that do the same tells of it."""
    if rank > 0:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
        os.environ.pop("SELFLOOP_PROGRESS", None)


def _begin(rank: int, size: int, port: int) -> None:
    import torch

    global _size
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()
    quiet(rank)
    os.environ.pop("SELFLOOP_PROGRESS", None)  # who started them tells how far all are
    os.environ.update(named(rank, size, port))
    _size = size
    if torch.cuda.is_available():
        torch.cuda.set_device(rank)
    torch.set_num_threads(max(1, torch.get_num_threads() // size))


def _made(rank: int, told: bytes) -> bytes | None:
    import cloudpickle

    make, part = cloudpickle.loads(told)
    made = make(part)
    # A tensor that multiprocessing pickles by itself would stay open in shared memory as long as somebody has it.
    return cloudpickle.dumps(made) if rank == 0 else None
