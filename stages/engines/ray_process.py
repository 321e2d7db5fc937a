"""A process of a Ray cluster that works for this one, and ends with it.

The one decision: what is done within a short time is told together, so that many workers do not drown who listens.
"""

import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from stages.engines.pieces import Item, Piece

PAUSE = 0.1
"""Seconds between two messages of a worker, at least."""


@dataclass(frozen=True, kw_only=True)
class Hiring:
    """How many workers, with which resources each, and of which cluster."""

    address: str
    workers: int
    cpus: int
    gpus: int


def hired(hiring: Hiring) -> Any:
    """One more worker, who begins when the cluster has room for it."""
    import ray

    return ray.remote(_Worker).options(num_cpus=hiring.cpus, num_gpus=hiring.gpus).remote()


class _Worker:
    """What runs in a hired process."""

    def do(self, function: Callable[[Piece], Iterable[Item]], piece: Piece) -> Iterator[list[Item]]:
        """See ``Workers.do``; what is done within a short time is told together."""
        done, told = [], time.monotonic()
        for item in function(piece):
            done.append(item)
            if time.monotonic() > told + PAUSE:
                yield done
                done, told = [], time.monotonic()
        yield done


def connect(address: str) -> None:
    """Make this process known to the cluster, unless it is.

    Raises:
        ConnectionError: there is no such cluster.
    """
    import ray

    if not ray.is_initialized():
        known = {name: os.environ[name] for name in ("PYTHONPATH",) if name in os.environ}
        try:
            ray.init(address, runtime_env={"env_vars": known}, log_to_driver=False, logging_level="error")
        except ConnectionError as missing:
            raise ConnectionError(f"{missing} (`ray start --head` starts a cluster, engine.address=auto)") from None
