"""Processes of a Ray cluster that carry out work in pieces: whoever is free takes the next one.

The one decision: what has come back of a piece is kept, and what a lost worker still owed goes to another. So the work
must come to the same whoever does it, and in whatever pieces.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from stages.engines.pieces import LOSSES, Item, Left, Piece
from stages.engines.ray_process import Hiring, connect, hired

SILENCE = 60.0
"""Seconds without any worker after which it is said what is waited for."""


class Workers:
    """Hired workers. For one that is lost another is hired, who works once the cluster has room for it."""

    def __init__(self, hiring: Hiring) -> None:
        connect(hiring.address)
        self.hiring = hiring
        self._idle: list[Any] = []
        self._coming: dict[Any, Any] = {}
        self._failed = 0
        for _ in range(hiring.workers):
            self._hire()

    def do(self, function: Callable[[Piece], Iterable[Item]], pieces: Iterable[Piece]) -> Iterator[Item]:
        """What ``function`` makes of each item of each piece, with the item's number, in the order in which it is done.

        Raises:
            Exception: the function's own.
            RuntimeError: an item has cost worker after worker, or none can begin.
        """
        left, busy = Left(pieces), dict[Any, _Shift]()
        try:
            while self._send_out(function, left, busy):
                for one in self._ready(busy):
                    yield from self._heard(one, busy, left) if one in busy else self._begun(one)
        finally:
            for shift in busy.values():
                self._replace(shift.worker)

    def dismiss(self) -> None:
        """End all workers, and with them what they hold."""
        import ray

        for worker in [*self._idle, *self._coming.values()]:
            ray.kill(worker)
        self._idle, self._coming = [], {}

    def _send_out(self, function: Callable[[Piece], Iterable[Item]], left: "Left", busy: dict[Any, "_Shift"]) -> bool:
        """Give work to everybody who is free; whether anything is still to be done."""
        while self._idle and left.more:
            worker, piece = self._idle.pop(0), left.take()
            stream = worker.do.options(num_returns="streaming").remote(function, piece)
            busy[stream] = _Shift(worker=worker, undone=dict(piece))
        return bool(busy) or left.more

    def _ready(self, busy: dict[Any, "_Shift"]) -> list[Any]:
        """Those who have something to say."""
        import ray

        awaited = [*busy, *self._coming]
        if not ray.wait(awaited, timeout=SILENCE)[0] and not busy:
            print(f"  waiting: the Ray cluster has no room for a worker yet ({self.hiring})", flush=True)
        ready: list[Any] = ray.wait(awaited, num_returns=len(awaited), timeout=0)[0]
        return ready

    def _heard(self, stream: Any, busy: dict[Any, "_Shift"], left: "Left") -> list[Item]:
        """What a worker says that it has done."""
        import ray
        from ray.exceptions import RayError, RayTaskError

        shift = busy[stream]
        try:
            done: list[Item] = ray.get(next(stream))
        except StopIteration:
            self._idle.append(busy.pop(stream).worker)
            return []
        except RayTaskError as failed:
            self._idle.append(busy.pop(stream).worker)
            raise failed.cause or failed from None
        except RayError:
            self._replace(busy.pop(stream).worker)
            left.put_back(shift.undone)
            return []
        for number, _ in done:
            del shift.undone[number]
        return done

    def _begun(self, ready: Any) -> tuple[()]:
        import ray
        from ray.exceptions import RayError

        worker = self._coming.pop(ready)
        try:
            ray.get(ready)
            self._idle.append(worker)
            self._failed = 0
        except RayError as wrong:
            self._failed += 1
            if self._failed > LOSSES:
                raise RuntimeError(f"no worker can begin on the Ray cluster: {wrong}") from None
            self._hire()
        return ()

    def _hire(self) -> None:
        worker = hired(self.hiring)
        self._coming[worker.__ray_ready__.remote()] = worker

    def _replace(self, worker: Any) -> None:
        import ray

        ray.kill(worker)
        self._hire()


@dataclass(frozen=True, kw_only=True)
class _Shift:
    """A worker, and what it still owes."""

    worker: Any
    undone: dict[int, Any]
