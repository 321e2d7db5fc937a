"""Who is told of a run: nobody, or MLflow. This is the only module that talks to MLflow.

The one decision: MLflow is told from what the store holds, in a thread of its own, and by content: a loop is found
again by the hash of its plan and a step by its key. So a resumed or cached run has whole curves, nothing is told twice,
and a server that is down costs a warning and never a step.
"""

import json
import os
import shlex
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any, Protocol

from loops.plan import Plan, Step
from loops.provenance import provenance
from loops.store import Manifest

QUIETLY = {
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}
"""How MLflow is asked to behave where the user has not said otherwise."""


class Tracker(Protocol):
    """Told of a run as it goes."""

    def begin(self, plan: Plan) -> None:
        """The run begins."""

    def started(self, step: Step) -> None:
        """A step was handed to the executor."""

    def finished(self, step: Step, manifest: Manifest, artifact: Path, cached: bool) -> None:
        """A step's artifact is there, made now or (``cached``) before."""

    def end(self, status: str) -> None:
        """The run is over: FINISHED, FAILED or KILLED."""


@dataclass(kw_only=True)
class Silent:
    """Tells nobody."""

    def begin(self, plan: Plan) -> None:
        """Nothing."""

    def started(self, step: Step) -> None:
        """Nothing."""

    def finished(self, step: Step, manifest: Manifest, artifact: Path, cached: bool) -> None:
        """Nothing."""

    def end(self, status: str) -> None:
        """Nothing."""


@dataclass(kw_only=True)
class MLflow:
    """A parent run for the loop, with ``<node>/<metric>`` at step = round, and a child run for each step.

    A step's artifact may hold ``curve.jsonl`` (rows of ``{"step": n, name: number}``), which becomes the child's
    metrics, and ``plots/``, which becomes its artifacts. Weights and tables stay in the store.

    Args:
        uri: the tracking server, or a local ``sqlite:///`` file.
        experiment: its name.
        artifacts: where plots go when the experiment is created here; None leaves it to the server.
        patience: seconds to wait at the end for a slow server.
    """

    uri: str
    experiment: str
    artifacts: str | None = None
    patience: float = 60.0

    def begin(self, plan: Plan) -> None:
        """Find this loop's run or make one."""
        for name, value in QUIETLY.items():
            os.environ.setdefault(name, value)
        self._calls: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        self._thread = Thread(target=self._work, daemon=True)
        self._thread.start()
        self._lost = ""
        self._said = False
        self._told: set[tuple[str, str]] = set()
        self._calls.put(lambda: self._begin(plan))

    def started(self, step: Step) -> None:
        """Nothing: a step is told when it is whole."""

    def finished(self, step: Step, manifest: Manifest, artifact: Path, cached: bool) -> None:
        """Tell the step, unless this loop's run has it already."""
        self._say_if_lost()
        self._calls.put(lambda: self._finished(step, manifest, artifact, cached))

    def end(self, status: str) -> None:
        """Close the loop's run and wait for what is still to be told."""
        self._calls.put(lambda: self._client.set_terminated(self._parent, status))
        self._calls.put(None)
        patience = self.patience if status == "FINISHED" else min(5.0, self.patience)
        self._thread.join(timeout=patience)
        if self._thread.is_alive():
            self._lost = f"no answer within {patience:.0f} s"
        self._say_if_lost()

    def _work(self) -> None:
        """Tell, one after another, until a call fails: from then on nothing is told."""
        while call := self._calls.get():
            try:
                call()
            except Exception as failure:
                self._lost = f"{type(failure).__name__}: {' '.join(str(failure).split())[:200]}"
                return

    def _say_if_lost(self) -> None:
        """Once, and from the runner's thread: stderr may be a step's log while one runs in this process."""
        if self._lost and not self._said:
            self._said = True
            print(f"MLflow at {self.uri} is not told ({self._lost}); the loop goes on without it", file=sys.stderr)

    def _begin(self, plan: Plan) -> None:
        Path(self.artifacts or ".").mkdir(parents=True, exist_ok=True)
        from mlflow import MlflowClient

        self._client = client = MlflowClient(self.uri)
        experiment = client.get_experiment_by_name(self.experiment)
        location = Path(self.artifacts).resolve().as_uri() if self.artifacts else None
        self._experiment = (
            experiment.experiment_id if experiment else client.create_experiment(self.experiment, location)
        )
        known = client.search_runs([self._experiment], f"tags.loop = '{plan.key}'", max_results=1)
        if known:
            self._parent = known[0].info.run_id
            children = client.search_runs(
                [self._experiment], f"tags.`mlflow.parentRunId` = '{self._parent}'", max_results=50_000
            )
            for run in children:
                if run.info.status == "FINISHED":
                    self._told.add((run.data.tags["step"], run.data.tags["key"]))
                else:
                    client.delete_run(run.info.run_id)  # it was being told when the runner was killed
            client.update_run(self._parent, "RUNNING")
            return
        tags = {"loop": plan.key, "recipe": plan.name, "command": shlex.join(sys.argv)}
        self._parent = client.create_run(self._experiment, tags=tags, run_name=plan.name).info.run_id
        client.log_dict(self._parent, provenance(), "environment.json")
        for name, value in plan.sizes.items():
            client.log_param(self._parent, name, value)
        client.log_text(self._parent, plan.source, "recipe.yaml")
        client.log_text(self._parent, "".join(f"{step.key}  {step.id}\n" for step in plan.steps), "plan.txt")

    def _finished(self, step: Step, manifest: Manifest, artifact: Path, cached: bool) -> None:
        from mlflow.entities import Metric, Param, RunTag

        if (step.id, step.key) in self._told:
            return
        now = int((artifact / "manifest.json").stat().st_mtime * 1000)
        begun = now - int(manifest.seconds * 1000)
        tags = {"mlflow.parentRunId": self._parent, "step": step.id, "node": step.node, "key": step.key}
        tags |= {"round": str(step.round), "cached": str(cached), "stage": str(manifest.stage["type"])}
        child = self._client.create_run(self._experiment, start_time=begun, tags=tags, run_name=step.id)
        run = child.info.run_id
        own = [Metric(name, value, now, 0) for name, value in manifest.metrics.items()]
        own += [Metric("seconds", manifest.seconds, now, 0), *_curve(artifact / "curve.jsonl", now)]
        fields = [Param(name, str(value)[:500]) for name, value in manifest.stage["fields"].items()]
        for first in range(0, len(own), 900):
            self._client.log_batch(run, metrics=own[first : first + 900])
        self._client.log_batch(run, params=fields[:100])
        self._client.log_dict(run, asdict(manifest), "manifest.json")
        if (artifact / "plots").is_dir():
            self._client.log_artifacts(run, str(artifact / "plots"), "plots")
        improving = [Metric(f"{step.node}/{name}", value, now, step.round) for name, value in manifest.metrics.items()]
        improving.append(Metric(f"{step.node}/seconds", manifest.seconds, now, step.round))
        self._client.log_batch(self._parent, metrics=improving, tags=[RunTag("last_step", step.id)])
        self._client.set_terminated(run, end_time=now)


def _curve(path: Path, now: int) -> list[Any]:
    """A training curve as metrics at the optimizer's steps."""
    from mlflow.entities import Metric

    if not path.exists():
        return []
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [
        Metric(f"curve/{name}", float(value), now, int(row["step"]))
        for row in rows
        for name, value in row.items()
        if name != "step"
    ]
