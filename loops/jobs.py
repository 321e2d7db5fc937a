"""Steps as jobs of a cluster: asked for, waited for, cancelled with whoever waits, asked for again if they die.

The one decision: an executor of a cluster only submits. The rest is the same wherever the job is, for what it will have
said is waited for as a ``Future``: submitit's jobs have its ``done``, ``exception`` and ``result`` too.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from threading import Event, Lock
from typing import ClassVar

from loops.errors import StepFailed
from loops.resources import Resources, check

POLL = 0.5
"""Seconds between two looks at a job."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """What has been asked for.

    Args:
        answer: what it will have said, see ``loops.worker.outcome``, or why its process died.
        cancel: ends it, whether it has begun or not.
        log: words that say where its process writes what goes wrong outside of the step.
    """

    answer: Future[str]
    cancel: Callable[[], object]
    log: str = ""


@dataclass(kw_only=True)
class Jobs(ABC):
    """On a cluster, a job a step.

    Args:
        workers: how many may be asked for at once.
        retries: further tries of a step whose job died. One that raised is not tried again.
        resources: by where a stage lives; one that is not named gets one core.
    """

    library: ClassVar[str]

    workers: int
    retries: int = 2
    resources: Mapping[str, Resources] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if find_spec(self.library) is None:
            raise ValueError(f"{self.library} is not installed in this environment: say `make setup-cluster`")
        check(self.workers, self.retries, self.resources)
        self._submitting, self._interrupted = Lock(), Event()

    @abstractmethod
    def submit(self, order: Path) -> Job:
        """Ask for a job that carries out the order, and outlives this process.

        Raises:
            RuntimeError: the cluster does not take it now.
        """

    def run(self, order: Path) -> None:
        """Carry out the order in a job, and in another one if that dies."""
        for _ in range(1 + self.retries):
            try:
                failure = self._said(order)
                break
            except RuntimeError as lost:
                reason = str(lost).rpartition("\n")[2]
                failure = f"its job died, or was not taken, in all of {1 + self.retries} tries: {reason}"
        if failure:
            raise StepFailed(failure)

    def stop(self, now: bool) -> None:
        """End the jobs that are queued or running, if it is to be ``now``; else they have ended."""
        if now:
            self._interrupted.set()

    def _said(self, order: Path) -> str:
        """What a job said, which is cancelled if nobody waits for it any more.

        Raises:
            RuntimeError: it died, or was not even taken.
        """
        with self._submitting:
            job = self.submit(order.resolve())
        try:
            while not job.answer.done():
                if self._interrupted.wait(POLL):
                    raise StepFailed("interrupted, and cancelled")
        except BaseException:
            job.cancel()
            raise
        lost = job.answer.exception()
        if lost is not None:
            raise RuntimeError(f"{str(lost).strip()}{job.log}") from lost
        return job.answer.result()
