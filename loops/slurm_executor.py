"""Steps as jobs of a Slurm cluster, through submitit, whose machines share the store and have this environment.

The one decision: Slurm owns the job, so it outlives a runner that was killed. A job that reaches its time limit or must
make room is put back into the queue by submitit, and goes on from what the step has kept.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event
from typing import Any

from loops.errors import StepFailed
from loops.resources import Resources, check, needed
from loops.worker import outcome


@dataclass(frozen=True, kw_only=True)
class Allocation(Resources):
    """What Slurm is asked for one step.

    Args:
        minutes: the time limit.
    """

    minutes: int = 24 * 60


@dataclass(kw_only=True)
class Slurm:
    """On a Slurm cluster. ``runs/NAME/jobs`` holds what submitit writes.

    Args:
        cluster: submitit's word: ``slurm``, or ``local`` for processes of this machine, to try it out.
        workers: how many jobs may be queued or running at once.
        retries: further tries of a step whose job died, and of one that reached its time limit.
        options: submitit's words for every job, such as ``slurm_partition``, ``slurm_account`` or ``slurm_setup``.
        resources: by where a stage lives; one that is not named gets one core for a day.
    """

    cluster: str = "slurm"
    workers: int = 16
    retries: int = 2
    options: Mapping[str, Any] = field(default_factory=dict)
    resources: Mapping[str, Allocation] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if find_spec("submitit") is None:
            raise ValueError("submitit is not installed in this environment: say `make setup-cluster`")
        check(self.workers, self.retries, self.resources)
        self._interrupted = Event()
        with TemporaryDirectory() as folder:
            try:
                self._asking(Path(folder), Allocation())
            except (NameError, RuntimeError) as refused:
                raise ValueError(str(refused)) from None

    def run(self, order: Path) -> None:
        """Carry out the order in a job."""
        from submitit.core.utils import FailedJobError, FailedSubmissionError, UncompletedJobError

        needs, folder = needed(self.resources, order) or Allocation(), order.parent.parent / "jobs"
        for _ in range(1 + self.retries):
            try:
                failure = self._awaited(self._asking(folder, needs).submit(_Attempt(), order.resolve()))
                break
            except (FailedJobError, FailedSubmissionError, UncompletedJobError) as lost:
                reason = str(lost).strip().splitlines()[-1]
                failure = f"its job died in all of {1 + self.retries} tries ({reason}; see {folder})"
        if failure:
            raise StepFailed(failure)

    def stop(self, now: bool) -> None:
        """Cancel the jobs that are queued or running, if it is to be ``now``; else they have ended."""
        if now:
            self._interrupted.set()

    def _awaited(self, job: Any) -> str:
        """What the job says in the end; it is cancelled if nobody waits for it any more."""
        try:
            while not job.done():
                if self._interrupted.wait(1.0):
                    raise StepFailed("interrupted, and cancelled")
        except BaseException:
            job.cancel(check=False)
            raise
        said: str = job.result()
        return said

    def _asking(self, folder: Path, needs: Allocation) -> Any:
        """submitit's executor for jobs with these needs.

        Raises:
            NameError: submitit does not know one of the options.
            RuntimeError: there is no Slurm here.
        """
        from submitit import AutoExecutor

        executor = AutoExecutor(folder, cluster=self.cluster, slurm_max_num_timeout=self.retries)
        executor.update_parameters(
            name="selfloop",
            cpus_per_task=needs.cpus or None,
            gpus_per_node=needs.gpus or None,
            mem_gb=needs.memory,
            timeout_min=needs.minutes,
            **self.options,
        )
        return executor


class _Attempt:
    """What a job does, and does again if it was put back into the queue."""

    def __call__(self, order: Path) -> str:
        """See ``outcome``."""
        return outcome(order)

    def checkpoint(self, order: Path) -> Any:
        """What submitit is to queue when the job's time is over: the same, for it goes on by itself."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self, order)
