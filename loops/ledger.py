"""What MLflow holds of a loop: a run for the loop and a child for each step. Only this module talks to MLflow.

The one decision: a loop is found again by the hash of its plan and a step by its place and key, so nothing is told
twice. A child is closed last: one that is found open was cut off, and is told again.
"""

import json
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from loops.manifest import Manifest
from loops.plan import Plan, Step
from loops.provenance import provenance
from loops.secrets import hidden

STOPPED = "stopped"
"""The tag that says why a loop ended early, or is empty."""


@dataclass(frozen=True, kw_only=True)
class Finished:
    """A step and what it made, now or (``cached``) before."""

    step: Step
    manifest: Manifest
    artifact: Path
    cached: bool

    @property
    def numbers(self) -> dict[str, float]:
        """Its metrics, and how long it took."""
        return {**self.manifest.metrics, "seconds": self.manifest.seconds}

    @property
    def ended(self) -> int:
        """When it was made, in milliseconds; of one whose files are away, now."""
        file = self.artifact / "manifest.json"
        return int((file.stat().st_mtime if file.exists() else time.time()) * 1000)


class Ledger:
    """A loop's run, found or made.

    Args:
        uri, experiment, artifacts: as MLflow's tracker has them.
        plan: the loop.
    """

    def __init__(self, uri: str, experiment: str, artifacts: str | None, plan: Plan) -> None:
        Path(artifacts or ".").mkdir(parents=True, exist_ok=True)
        from mlflow import MlflowClient

        self._client = client = MlflowClient(uri)
        found = client.get_experiment_by_name(experiment)
        location = Path(artifacts).resolve().as_uri() if artifacts else None
        self._experiment = found.experiment_id if found else client.create_experiment(experiment, location)
        known = client.search_runs([self._experiment], f"tags.loop = '{plan.key}'", max_results=1)
        if not known:
            self._parent = self._begun(plan)
            self._told: set[tuple[str, str]] = set()
            return
        self._parent = known[0].info.run_id
        whole = known[0].info.status == "FINISHED" and not known[0].data.tags.get(STOPPED)
        self._told = {(step.id, step.key) for step in plan.steps} if whole else self._children()
        client.update_run(self._parent, "RUNNING")

    def tell(self, finished: Sequence[Finished]) -> None:
        """Tell of some steps: each one's own run, then the loop's curves, and only then is what was told closed."""
        from mlflow.entities import Metric, RunTag

        new = [each for each in finished if (each.step.id, each.step.key) not in self._told]
        if not new:
            return
        children = [self._child(each) for each in new]
        improving = [
            Metric(f"{each.step.node}/{name}", value, each.ended, each.step.round)
            for each in new
            for name, value in each.numbers.items()
        ]
        self._client.log_batch(self._parent, improving, tags=[RunTag("last_step", new[-1].step.id)])
        for each, child in zip(new, children, strict=True):
            self._client.set_terminated(child, end_time=each.ended)

    def close(self, status: str, stopped: str) -> None:
        """Close the loop's run. FINISHED says that all of it was told, but for rounds that it ``stopped`` before."""
        self._client.set_tag(self._parent, STOPPED, stopped)
        self._client.set_terminated(self._parent, status)

    def _begun(self, plan: Plan) -> str:
        from mlflow.entities import Param

        tags = {"loop": plan.key, "recipe": plan.name, "command": hidden(shlex.join(sys.argv))}
        run: str = self._client.create_run(self._experiment, tags=tags, run_name=plan.name).info.run_id
        self._client.log_dict(run, provenance(), "environment.json")
        self._client.log_batch(run, params=[Param(name, hidden(str(value))) for name, value in plan.sizes.items()])
        self._client.log_text(run, hidden(plan.source), "recipe.yaml")
        self._client.log_text(run, "".join(f"{step.key}  {step.id}\n" for step in plan.steps), "plan.txt")
        return run

    def _children(self) -> set[tuple[str, str]]:
        """Place and key of each step that the loop's run has."""
        told = set()
        of_parent = f"tags.`mlflow.parentRunId` = '{self._parent}'"
        for run in self._client.search_runs([self._experiment], of_parent, max_results=50_000):
            if run.info.status == "FINISHED":
                told.add((run.data.tags["step"], run.data.tags["key"]))
            else:
                self._client.delete_run(run.info.run_id)
        return told

    def _child(self, each: Finished) -> str:
        """A step's own run, still open."""
        from mlflow.entities import Metric, Param

        step, stage, ended = each.step, each.manifest.stage, each.ended
        tags = {"mlflow.parentRunId": self._parent, "step": step.id, "node": step.node, "key": step.key}
        tags |= {"round": str(step.round), "cached": str(each.cached), "stage": str(stage["type"])}
        begun = ended - int(each.manifest.seconds * 1000)
        run: str = self._client.create_run(self._experiment, begun, tags, step.id).info.run_id
        own = [Metric(name, value, ended, 0) for name, value in each.numbers.items()]
        fields = [Param(name, hidden(str(value))[:500]) for name, value in stage["fields"].items()]
        self._client.log_batch(run, [*own, *_curve(each.artifact / "curve.jsonl", ended)], fields[:100])
        self._client.log_text(run, hidden(json.dumps(asdict(each.manifest), indent=1)), "manifest.json")
        if (each.artifact / "plots").is_dir():
            self._client.log_artifacts(run, str(each.artifact / "plots"), "plots")
        return run


def keep(uri: str, experiment: str, loop: str, file: Path) -> bool:
    """Log a file with a loop's run, in place of what was kept under its name; whether there is such a run."""
    client, run = _found(uri, experiment, loop)
    if run:
        client.log_artifact(run, str(file))
    return bool(run)


def tag(uri: str, experiment: str, loop: str, tags: Mapping[str, str]) -> bool:
    """Set tags of a loop's run; whether there is such a run."""
    client, run = _found(uri, experiment, loop)
    for name, value in tags.items() if run else ():
        client.set_tag(run, name, value)
    return bool(run)


def _found(uri: str, experiment: str, loop: str) -> tuple[Any, str]:
    """A client, and the id of the loop's run, or nothing if there is none."""
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    found = client.get_experiment_by_name(experiment)
    known = client.search_runs([found.experiment_id], f"tags.loop = '{loop}'", max_results=1) if found else []
    return client, next((run.info.run_id for run in known), "")


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
