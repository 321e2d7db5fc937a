"""Steps as jobs of a Slurm cluster, through submitit, whose machines share the store and have this environment.

The one decision: Slurm owns the job, so it outlives a runner that was killed. A job that reaches its time limit or must
make room is put back into the queue by submitit, and goes on from what the step has kept.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

from loops.jobs import Job, Jobs
from loops.resources import Resources, needed
from loops.worker import outcome


@dataclass(frozen=True, kw_only=True)
class Allocation(Resources):
    """What Slurm is asked for one step.

    Args:
        minutes: the time limit.
    """

    minutes: int = 24 * 60


@dataclass(kw_only=True)
class Slurm(Jobs):
    """On a Slurm cluster. ``runs/NAME/jobs`` holds what submitit writes.

    Args:
        cluster: submitit's word: ``slurm``, or ``local`` for processes of this machine, to try it out.
        workers: how many jobs may be queued or running at once.
        options: submitit's words for every job, such as ``slurm_partition``, ``slurm_account`` or ``slurm_setup``.
        resources: by where a stage lives; one that is not named gets one core for a day.
    """

    library: ClassVar[str] = "submitit"

    cluster: str = "slurm"
    workers: int = 16
    options: Mapping[str, Any] = field(default_factory=dict)
    resources: Mapping[str, Allocation] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        with TemporaryDirectory() as folder:
            try:
                self._asking(Path(folder), Allocation())
            except (NameError, RuntimeError, TypeError) as refused:
                raise ValueError(str(refused)) from None

    def submit(self, order: Path) -> Job:
        """Ask Slurm for it."""
        folder = order.parent.parent / "jobs"
        job = self._asking(folder, needed(self.resources, order) or Allocation()).submit(_Attempt(), order)
        return Job(answer=job, cancel=partial(job.cancel, check=False), log=f" (see {job.paths.stderr})")

    def _asking(self, folder: Path, needs: Allocation) -> Any:
        """submitit's executor for jobs with these needs.

        Raises:
            NameError: submitit does not know one of the options.
            TypeError: one of the options is not theirs to say, such as ``timeout_min``.
            RuntimeError: there is no Slurm here.
        """
        from submitit import AutoExecutor

        executor = AutoExecutor(folder, cluster=self.cluster, slurm_max_num_timeout=self.retries)
        machine = {"cpus_per_task": needs.cpus or None, "gpus_per_node": needs.gpus or None, "mem_gb": needs.memory}
        executor.update_parameters(name="selfloop", timeout_min=needs.minutes, **machine, **self.options)
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
