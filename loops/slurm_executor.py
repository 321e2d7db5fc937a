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
from loops.resources import Resources, check_table, needed
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
        if self.workers < 1 or self.retries < 0:
            raise ValueError(f"workers must be at least 1 and retries at least 0, not {self.workers}, {self.retries}")
        if find_spec("submitit") is None:
            raise ValueError("submitit is not installed in this environment: say `pip install 'selfloop[slurm]'`")
        check_table(self.resources)
        self._jobs: list[Any] = []
        self._interrupted = Event()
        with TemporaryDirectory() as folder:
            try:
                self._asking(Path(folder), Allocation())
            except (NameError, RuntimeError) as refused:
                raise ValueError(str(refused)) from None

    def run(self, order: Path) -> None:
        """Carry out the order in a job."""
        from submitit.core.utils import FailedJobError, UncompletedJobError

        for _ in range(1 + self.retries):
            needs = needed(self.resources, order) or Allocation()
            job = self._asking(order.parent.parent / "jobs", needs).submit(_Attempt(), order.resolve())
            self._jobs.append(job)
            while not job.done():
                if self._interrupted.wait(1.0):
                    raise StepFailed("interrupted: its job was cancelled")
            try:
                failure = job.result()
            except (FailedJobError, UncompletedJobError):
                continue
            if failure:
                raise StepFailed(failure)
            return
        raise StepFailed(f"its job {job.job_id} died in all of {1 + self.retries} tries; see {job.paths.stderr}")

    def stop(self, now: bool) -> None:
        """Cancel the jobs that are queued or running, if it is to be ``now``; else they have ended."""
        if now:
            self._interrupted.set()
        for job in self._jobs:
            if now and not job.done():
                job.cancel(check=False)
        self._jobs.clear()

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
            cpus_per_task=needs.cpus,
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
