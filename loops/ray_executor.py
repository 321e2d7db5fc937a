"""Steps as tasks of a Ray cluster, whose machines share the store and have this environment.

The one decision: a task dies with whoever asked for it, so the runner does not ask itself. Each step has a keeper, an
actor that needs no resources and that nobody owns. It asks for the step's task, waits, and ends. So a step outlives a
runner that was killed, and Ray's own retries try it again on another machine.
"""

import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from loops.errors import StepFailed
from loops.resources import Resources, check, needed
from loops.worker import outcome


@dataclass(kw_only=True)
class Ray:
    """On a Ray cluster; a step whose resources are not free waits for them there.

    Args:
        address: of the cluster's head, ``host:6379``; ``auto`` is the one that this machine belongs to.
        workers: how many steps may be asked for at once.
        retries: further tries of a step whose worker or machine died. One that raised is not tried again.
        environment: set for the workers.
        resources: by where a stage lives; one that is not named gets one core.
    """

    address: str = "auto"
    workers: int = 8
    retries: int = 2
    environment: Mapping[str, str] = field(default_factory=dict)
    resources: Mapping[str, Resources] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if find_spec("ray") is None:
            raise ValueError("Ray is not installed in this environment: say `make setup-cluster`")
        check(self.workers, self.retries, self.resources)
        self._connecting, self._interrupted = threading.Lock(), threading.Event()

    def run(self, order: Path) -> None:
        """Carry out the order in a fresh process of the cluster."""
        import ray
        from ray.exceptions import RayError

        self._connect()
        again = -1 if self.retries else 0  # what a keeper's own death costs is not the step's fault
        keeper = ray.remote(_Keeper).options(num_cpus=0, lifetime="detached", max_restarts=again).remote()
        said = keeper.carry_out.options(max_task_retries=again).remote(order.resolve(), self._options(order))
        keeper.__ray_terminate__.remote()
        try:
            while not ray.wait([said], timeout=1.0)[0]:
                if self._interrupted.is_set():
                    raise StepFailed("interrupted, and ended")
            failure = ray.get(said)
        except RayError as lost:
            reason = str(lost).strip().splitlines()[-1]
            raise StepFailed(f"its worker died in all of {1 + self.retries} tries: {reason}") from None
        except BaseException:
            ray.kill(keeper)
            raise
        if failure:
            raise StepFailed(failure)

    def stop(self, now: bool) -> None:
        """End the steps that are still running, if it is to be ``now``; else they have ended."""
        if now:
            self._interrupted.set()

    def _options(self, order: Path) -> dict[str, Any]:
        """Ray's words for what the step needs. What the cluster has nowhere is said, for it may still grow."""
        import ray

        needs = needed(self.resources, order) or Resources()
        if needs.gpus > ray.cluster_resources().get("GPU", 0):
            print(f"  waiting: {order.stem} asks for {needs.gpus} GPUs, more than the Ray cluster has", flush=True)
        memory = {"memory": int(needs.memory * 1e9)} if needs.memory else {}
        return {"num_cpus": needs.cpus, "num_gpus": needs.gpus, "max_retries": self.retries, **memory}

    def _connect(self) -> None:
        """
        Raises:
            StepFailed: there is no such cluster.
        """
        import ray

        settings = {"env_vars": {**_inherited(), **self.environment}}
        with self._connecting:
            try:
                if not ray.is_initialized():
                    ray.init(self.address, runtime_env=settings, log_to_driver=False, logging_level="error")
            except ConnectionError as missing:
                raise StepFailed(f"{missing} (`ray start --head` begins a cluster, executor.address=auto)") from None


def _inherited() -> dict[str, str]:
    """What a worker must know to find the same classes. Keys and tokens are not sent: Ray shows such variables."""
    return {name: os.environ[name] for name in ("SELFLOOP_TRUST", "PYTHONPATH") if name in os.environ}


class _Keeper:
    """Holds a step's task for a runner that may die."""

    def carry_out(self, order: Path, options: Mapping[str, Any]) -> str:
        """See ``outcome``. A worker makes one step: what it holds, such as a GPU's memory, ends with it."""
        import ray

        said: str = ray.get(ray.remote(max_calls=1, **options)(outcome).remote(order))
        return said
