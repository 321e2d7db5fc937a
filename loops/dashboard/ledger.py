"""What MLflow holds of a loop: its runs, their numbers, and what was read, made, said and handed on.

The one decision: everything is told once, from whichever process. A step's run is closed last. One that is found open
was cut off, and is told again into the same run, where MLflow keeps equal points and entries once.
"""

import json
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from loops.dashboard import datasets, tables, traces, views
from loops.dashboard.finished import Finished
from loops.dashboard.registry import Registry
from loops.dashboard.rounds import Rounds
from loops.dashboard.runs import INSIDE, LOOP, ROUND, STEP, Runs
from loops.dashboard.shown import Row, Shown
from loops.dashboard.system import Watch
from loops.plan import Plan
from loops.provenance import provenance
from loops.secrets import hidden

STOPPED = "stopped"
"""The tag that says why a loop ended early, or is empty."""


class Ledger:
    """A loop's run, found or made.

    Args:
        uri, experiment, artifacts, shown: as MLflow's tracker has them.
        plan: the loop.
    """

    def __init__(self, uri: str, experiment: str, artifacts: str | None, shown: Shown, plan: Plan) -> None:
        self._uri, self._shown = uri, shown
        client, place = opened(uri, experiment, artifacts)
        tags = {name: str(value) for name, value in shown.tags.items() if value is not None}
        self._client = client
        self._runs = Runs(client=client, experiment=place, loop=plan.key, tags={**tags, "recipe": plan.name})
        same = self._runs.of_loop()
        known = same or self._runs.of_shorter(plan)
        self._parent = known.info.run_id if known else self._begun(plan)
        self._runs = replace(self._runs, tags={**self._runs.tags, INSIDE: self._parent})
        self._whole = bool(same) and same.info.status == "FINISHED" and not same.data.tags.get(STOPPED)
        if known:
            client.update_run(self._parent, "RUNNING")
        if not same:
            steps = "".join(f"{step.key}  {step.id}\n" for step in plan.steps)
            client.log_text(self._parent, steps, "plan.txt")
        self.watch = Watch(uri, self._parent)
        if not self._whole:
            self._find(plan)
            views.offer(client, place, shown.charts, dict.fromkeys(step.node for step in plan.steps))

    def tell(self, finished: Sequence[Finished]) -> None:
        """Tell of some steps: each one's own run, then the loop's curves, and only then is what was told closed."""
        if self._whole:
            return
        new = [each for each in finished if each.place not in self._told]
        for each in new:
            self._tell_step(each)
        if new:
            self._tell_curves(new)
        for each in new:
            self._client.set_terminated(self._steps[each.place], end_time=each.ended)
        self._told.update(each.place for each in new)
        self._rounds.note(finished)
        if any(not each.cached for each in new):
            self._registry.crown()

    def close(self, status: str, stopped: str) -> None:
        """Close the loop's run. FINISHED says that all of it was told, but for rounds that it ``stopped`` before."""
        if not self._whole:
            self._rounds.close(status)
            if status == "FINISHED":
                self._registry.crown()
        self._client.set_tag(self._parent, STOPPED, stopped)
        self._client.set_terminated(self._parent, status)

    def _begun(self, plan: Plan) -> str:
        from mlflow.entities import Param

        run = self._runs.begin(LOOP, plan.name, command=hidden(shlex.join(sys.argv)), rounds=str(plan.rounds))
        self._client.log_dict(run, provenance(), "environment.json")
        self._client.log_batch(run, params=[Param(name, hidden(str(value))) for name, value in plan.sizes.items()])
        self._client.log_text(run, hidden(plan.source), "recipe.yaml")
        return run

    def _find(self, plan: Plan) -> None:
        """What was told of the loop before: ``_steps`` are the runs of steps, ``_told`` those that are whole."""
        inside = self._runs.inside(self._parent)
        steps = [run for run in inside if run.data.tags["kind"] == STEP]
        self._steps = {_place(run): run.info.run_id for run in steps}
        self._told = {_place(run) for run in steps if run.info.status == "FINISHED"}
        rounds = [run for run in inside if run.data.tags["kind"] == ROUND]
        self._rounds = Rounds(self._runs, self._parent, plan, rounds)
        self._registry = Registry(self._runs, self._uri, plan, self._shown.registered)

    def _tell_curves(self, new: Sequence[Finished]) -> None:
        from mlflow.entities import Metric, RunTag

        improving = [
            Metric(f"{each.step.node}/{name}", value, each.ended, each.step.round)
            for each in new
            for name, value in each.numbers.items()
        ]
        self._client.log_batch(self._parent, improving, tags=[RunTag("last_step", new[-1].step.id)])
        for each in new:
            if not each.step.inputs and not each.step.round:
                datasets.log_material(self._client, self._parent, each)

    def _tell_step(self, each: Finished) -> None:
        """A step's own run, which stays open, and what hangs on it."""
        from mlflow.entities import Metric, Param, RunTag

        if each.place not in self._steps:
            self._steps[each.place] = self._begin_step(each)
        run, rows, judgements = self._steps[each.place], *self._glanced(each)
        own = [Metric(name, value, each.ended, 0) for name, value in each.numbers.items()]
        fields = [Param(name, hidden(str(value))[:500]) for name, value in each.manifest.stage["fields"].items()]
        curve, tags = _curve(each.artifact / "curve.jsonl", each.ended), [RunTag(*tables.TAG)] if rows else []
        self._client.log_batch(run, [*own, *curve], fields[:100], tags)
        self._client.log_text(run, hidden(json.dumps(asdict(each.manifest), indent=1)), "manifest.json")
        if (each.artifact / "plots").is_dir():
            self._client.log_artifacts(run, str(each.artifact / "plots"), "plots")
        datasets.log(self._client, run, each)
        if rows:
            tables.log(self._client, run, rows)
        if judgements:
            traces.log(self._uri, self._runs, run, each, judgements)
        self._registry.note(each, run)

    def _begin_step(self, each: Finished) -> str:
        step, stage = each.step, str(each.manifest.stage["type"])
        tags = {"step": step.id, "node": step.node, "key": step.key, "round": str(step.round), "stage": stage}
        return self._runs.begin(STEP, step.node, self._rounds.run(each), each.begun, cached=str(each.cached), **tags)

    def _glanced(self, each: Finished) -> tuple[Sequence[Row], Sequence[Row]]:
        """Some rows of what the step made, and some of a judge's calls in it."""
        glance = self._shown.glance
        if glance is None or not each.is_here:
            return [], []
        made, inputs = each.made(), each.inputs()
        return glance.rows(made, inputs), glance.judgements(made, inputs)


def opened(uri: str, experiment: str, artifacts: str | None) -> tuple[Any, str]:
    """MLflow's client, and the id of the experiment, which is made if it is not there."""
    Path(artifacts or ".").mkdir(parents=True, exist_ok=True)
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    found = client.get_experiment_by_name(experiment)
    location = Path(artifacts).resolve().as_uri() if artifacts else None
    return client, found.experiment_id if found else client.create_experiment(experiment, location)


def _place(run: Any) -> tuple[str, str]:
    return run.data.tags["step"], run.data.tags["key"]


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
