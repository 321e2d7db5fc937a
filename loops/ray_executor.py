"""Steps as tasks of a Ray cluster, whose machines share the store and have this environment.

The one decision: a task dies with whoever asked for it, so the runner does not ask itself. Each step has a keeper, an
actor that needs no resources and that nobody owns. It asks for the step's task, waits, and ends. So a step outlives a
runner that was killed.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from loops.errors import StepFailed
from loops.jobs import Job, Jobs
from loops.resources import Resources, needed
from loops.worker import outcome

INHERITED = ("SELFLOOP_TRUST", "PYTHONPATH")
"""What a worker must know to find the same classes. Keys and tokens are not sent: Ray shows such variables."""


@dataclass(kw_only=True)
class Ray(Jobs):
    """On a Ray cluster; a step whose resources are not free waits for them there.

    Args:
        address: of the cluster's head, ``host:6379``; ``auto`` is the one that this machine belongs to.
        workers: how many steps may be asked for at once.
        environment: set for the workers.
    """

    library: ClassVar[str] = "ray"

    address: str = "auto"
    workers: int = 8
    environment: Mapping[str, str] = field(default_factory=dict)

    def submit(self, order: Path) -> Job:
        """Ask a keeper for it. What the cluster has nowhere is said and waited for: it may still grow."""
        import ray

        self._connect()
        needs = needed(self.resources, order) or Resources()
        if needs.gpus > ray.cluster_resources().get("GPU", 0):
            print(f"  waiting: {order.stem} asks for {needs.gpus} GPUs, more than the Ray cluster has", flush=True)
        memory = needs.memory and int(needs.memory * 1e9)
        options = {"num_cpus": needs.cpus, "num_gpus": needs.gpus, "memory": memory}
        keeper = ray.remote(_Keeper).options(num_cpus=0, lifetime="detached").remote()
        answer = keeper.carry_out.remote(order, options).future()
        keeper.__ray_terminate__.remote()
        return Job(answer=answer, cancel=partial(ray.kill, keeper))

    def _connect(self) -> None:
        """
        Raises:
            StepFailed: there is no such cluster.
        """
        import ray

        inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
        settings = {"env_vars": {**inherited, **self.environment}}
        try:
            if not ray.is_initialized():
                ray.init(self.address, runtime_env=settings, log_to_driver=False, logging_level="error")
        except ConnectionError as missing:
            raise StepFailed(f"{missing} (`ray start --head` begins a cluster, executor.address=auto)") from None


class _Keeper:
    """Holds a step's task for a runner that may die."""

    def carry_out(self, order: Path, options: Mapping[str, Any]) -> str:
        """See ``outcome``. A worker makes one step: what it holds, such as a GPU's memory, ends with it."""
        import ray

        said: str = ray.get(ray.remote(max_calls=1, max_retries=0, **options)(outcome).remote(order))
        return said
