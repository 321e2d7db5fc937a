"""What MLflow holds of a loop beside its curves: rounds, data sets, samples, judgements, models, charts."""

import json
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from loops import record
from loops.compose import compose
from loops.dashboard import views
from loops.dashboard.registry import CHAMPION
from loops.dashboard.shown import Shown
from loops.dashboard.system import Watch
from loops.dashboard.ui import serve
from loops.errors import RecipeError
from loops.executors import Inline
from loops.plan import unroll
from loops.recipe import load
from loops.resolved import section
from loops.runner import Runner
from loops.stage import build
from loops.store import Store
from loops.tracker import MLflow
from tests.loops.recipes import gated_toy, toy

pytestmark = pytest.mark.filterwarnings("ignore")


@dataclass(frozen=True)
class Words:
    """Looks into numbers as if a judge had spoken of them."""

    said: str = "five"

    def rows(self, made: Any, inputs: Mapping[str, Any]) -> list[dict[str, Any]]:
        return [{"number": made.value, "left": inputs["left"].value}] if "left" in inputs else []

    def judgements(self, made: Any, inputs: Mapping[str, Any]) -> list[dict[str, Any]]:
        if "left" not in inputs:
            return []
        asked = {"inputs": {"prompt": "how much?"}, "outputs": {"words": self.said, "score": 5.0}}
        return [{**asked, "score": 5.0, "judge": "j"}, {**asked, "score": None, "judge": "j"}]


class Told:
    """Loops that were run and told to MLflow in a local file."""

    def __init__(self, root: Path) -> None:
        self.root, self.uri = root, f"sqlite:///{root}/mlflow.db"

    def run(self, recipe=None, **shown):
        plan = unroll(recipe or load(toy()))
        tracker = MLflow(
            uri=self.uri, experiment="test", artifacts=str(self.root / "mlflow"), patience=300, shown=Shown(**shown)
        )
        Runner(Store(self.root / "store"), Inline(), [tracker], self.root / "run").run(plan)
        loop = self.runs(f"tags.kind = 'loop' and tags.loop = '{plan.key}'")[0]
        assert loop.info.status == "FINISHED", "all of it was told"
        return plan

    @property
    def client(self):
        from mlflow import MlflowClient

        return MlflowClient(self.uri)

    @property
    def experiment(self):
        return self.client.get_experiment_by_name("test")

    def runs(self, filter=""):
        return self.client.search_runs([self.experiment.experiment_id], filter)

    def step(self, id):
        return self.runs(f"tags.step = '{id}'")[0]

    def text(self, run, file):
        return Path(self.client.download_artifacts(run.info.run_id, file)).read_text()


@pytest.fixture
def told(tmp_path, empty):
    """Loops that will be told of in a database of their own."""
    shutil.copy(empty, tmp_path)
    return Told(tmp_path)


@pytest.fixture(scope="module")
def once(tmp_path_factory, empty):
    """One loop with everything that can be shown, for tests that only look."""
    root = tmp_path_factory.mktemp("once")
    shutil.copy(empty, root)
    loop = Told(root)
    charts = {"Does it grow?": [["add/value"], ["add/value", "round/seconds"]]}
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("MY_TOKEN", "s3cret-s3cret")
        words = Words(said="five, says s3cret-s3cret")
        tags = {"model": "small", "gate": None}
        loop.plan = loop.run(tags=tags, charts=charts, registered="total", glance=words)
    return loop


def test_a_step_is_in_its_round_and_a_round_in_its_loop_and_each_is_found_by_what_was_chosen(once):
    told = once
    loop = told.runs("tags.kind = 'loop'")[0]
    rounds = {run.data.tags["round"]: run for run in told.runs("tags.kind = 'round'")}
    assert {run.info.run_name for run in rounds.values()} == {"setup", "round-01", "round-02"}
    assert {run.data.tags["mlflow.parentRunId"] for run in rounds.values()} == {loop.info.run_id}
    for step in told.runs("tags.kind = 'step'"):
        assert step.data.tags["mlflow.parentRunId"] == rounds[step.data.tags["round"]].info.run_id
    found = told.runs("tags.model = 'small' and tags.recipe = 'toy' and tags.round = '2' and metrics.`add/value` = 15")
    assert [run.info.run_name for run in found] == ["round-02"]
    assert all("gate" not in run.data.tags for run in told.runs())


def test_a_round_is_finished_when_its_last_step_is_and_says_how_long_it_took(once):
    told = once
    rounds = told.runs("tags.kind = 'round'")
    assert {run.info.status for run in rounds} == {"FINISHED"}
    seconds = {run.data.tags["round"]: run.data.metrics["round/seconds"] for run in rounds}
    loop = told.runs("tags.kind = 'loop'")[0].info.run_id
    curve = {str(point.step): point.value for point in told.client.get_metric_history(loop, "round/seconds")}
    assert curve == seconds


def test_a_round_that_was_cut_off_goes_on_in_its_own_run(told):
    told.run()
    before = {run.info.run_id for run in told.runs()}
    for run in (told.runs("tags.kind = 'loop'")[0], told.runs("tags.round = '1' and tags.kind = 'round'")[0]):
        told.client.set_terminated(run.info.run_id, "KILLED")
    told.run()
    assert {run.info.run_id for run in told.runs()} == before
    assert {run.info.status for run in told.runs()} == {"FINISHED"}


def test_what_a_step_made_is_a_data_set_by_its_key_and_the_next_step_reads_the_same_one(once):
    told = once
    keys = {step.id: step.key for step in told.plan.steps}
    made = {told_as(entry): entry.dataset for entry in told.step("round-01/add").inputs.dataset_inputs}
    read = {told_as(entry): entry.dataset for entry in told.step("round-02/add").inputs.dataset_inputs}
    assert read["left"].digest == made["made"].digest == keys["round-01/add"]
    assert (read["left"].name, read["right"].digest) == ("add", keys["setup/step"])
    lies = Path(json.loads(made["made"].source)["uri"])
    assert lies == Store(told.root / "store").path(keys["round-01/add"]).resolve()
    loop = told.runs("tags.kind = 'loop'")[0]
    assert {told_as(entry) for entry in loop.inputs.dataset_inputs} == {"step", "start"}


def told_as(entry):
    return next(tag.value for tag in entry.tags if tag.key == "mlflow.data.context")


def test_a_step_that_was_cut_off_and_is_told_again_has_each_data_set_and_judgement_once(told):
    told.run(glance=Words())
    before = told.step("round-02/add")
    for run in (told.runs("tags.kind = 'loop'")[0], before):
        told.client.update_run(run.info.run_id, "RUNNING")
    told.run(glance=Words())
    after = told.step("round-02/add")
    assert (after.info.run_id, after.info.status) == (before.info.run_id, "FINISHED")
    assert len(after.inputs.dataset_inputs) == 3
    traces = told.client.search_traces(locations=[told.experiment.experiment_id])
    assert len(traces) == 4
    assert sorted(len(trace.info.assessments) for trace in traces) == [1] * 4


def test_a_sample_of_rows_is_a_table_in_the_form_that_mlflow_shows(once):
    run = once.step("round-02/add")
    assert json.loads(run.data.tags["mlflow.loggedArtifacts"]) == [{"path": "sample.json", "type": "table"}]
    table = json.loads(once.text(run, "sample.json"))
    assert table == {"columns": ["number", "left"], "data": [[15.0, 12.0]]}
    assert "mlflow.loggedArtifacts" not in once.step("setup/start").data.tags


def test_a_judges_call_is_a_trace_of_the_step_without_secrets(once):
    run = once.step("round-01/add")
    traces = once.client.search_traces(locations=[once.experiment.experiment_id], run_id=run.info.run_id)
    scores = [trace.info.assessments[0] for trace in traces]
    assert sorted((score.feedback.value is None) for score in scores) == [False, True]
    trace = once.client.get_trace(traces[0].info.trace_id)
    span = trace.data.spans[0]
    assert span.inputs == {"prompt": "how much?"}
    assert span.outputs == {"words": "five, says <MY_TOKEN>", "score": 5.0}
    assert trace.info.tags["model"] == "small"
    assert trace.info.tags["round"] == "1"
    assert b"s3cret-s3cret" not in (once.root / "mlflow.db").read_bytes()


def test_each_rounds_model_is_a_version_with_its_lineage_and_the_last_is_champion(once):
    versions = {v.tags["round"]: v for v in once.client.search_model_versions("name = 'total_of_toy'")}
    keys = {str(number): step["total"].key for number, step in enumerate(once.plan.handed_on)}
    assert {number: version.tags["key"] for number, version in versions.items()} == keys
    assert versions["2"].run_id == once.step("round-02/add").info.run_id
    assert Path(versions["2"].source) == Store(once.root / "store").path(keys["2"]).resolve()
    assert versions["2"].tags["loop"] == once.plan.key
    assert once.client.get_model_version_by_alias("total_of_toy", CHAMPION).tags["round"] == "2"


def test_loops_that_share_a_round_share_its_version(told):
    told.run(registered="total")
    told.run(load(toy(rounds=3)), registered="total")
    told.run(registered="total")
    rounds = [version.tags["round"] for version in told.client.search_model_versions("name = 'total_of_toy'")]
    assert sorted(rounds) == ["0", "1", "2", "3"]


def test_what_a_gate_refuses_is_a_version_but_not_champion(told):
    plan = told.run(gated_toy(13), registered="total")
    versions = {v.tags["key"]: v for v in told.client.search_model_versions("name = 'total_of_toy'")}
    made = {step.id: step.key for step in plan.steps}
    assert set(versions) == {made["setup/start"], made["round-01/add"], made["round-02/add"]}
    champion = told.client.get_model_version_by_alias("total_of_toy", CHAMPION)
    assert champion.tags["key"] == made["round-01/add"]


def test_a_name_that_is_not_carried_registers_nothing(told):
    told.run(registered="policy")
    assert told.client.search_registered_models() == []


def view(told):
    return views.saved(told.experiment.tags[views.TAG])


def test_charts_are_a_view_of_the_experiment_over_rounds_of_the_loops_alone(once):
    seen = view(once)
    assert seen["searchFilter"] == 'tags.kind = "loop"'
    assert [chart["selectedMetricKeys"] for chart in seen["compareRunCharts"]] == [
        ["add/value"],
        ["add/value", "round/seconds"],
    ]
    assert {(chart["type"], chart["xAxisKey"]) for chart in seen["compareRunCharts"]} == {("LINE", "step")}
    unfolded = {section["name"]: section["display"] for section in seen["compareRunSections"]}
    assert unfolded == {"Does it grow?": True, "step": False, "start": False, "add": False}
    assert len({chart["uuid"] for chart in seen["compareRunCharts"]}) == 2


def test_another_loop_adds_its_nodes_to_the_view_and_a_person_who_saved_it_keeps_it(told):
    told.run(charts={"Does it grow?": [["add/value"]]})
    told.run(gated_toy(13), charts={"Does it grow?": [["add/value"]]})
    names = [section["name"] for section in view(told)["compareRunSections"]]
    assert names == ["Does it grow?", "step", "start", "add", "gate", "keep_total"]
    mine = json.dumps({"name": "mine", "createdAt": 1, "updatedAt": 1, "state": json.dumps({"searchFilter": ""})})
    told.client.set_experiment_tag(told.experiment.experiment_id, views.TAG, mine)
    told.run(load(toy(rounds=3)), charts={"Does it grow?": [["add/value"]]})
    assert told.experiment.tags[views.TAG] == mine


def test_a_chart_of_nothing_is_refused():
    with pytest.raises(RecipeError, match="a chart names at least one metric"):
        build({"_target_": "loops.dashboard.shown.Shown", "charts": {"why?": [[]]}}, "tracker.shown")


def test_the_machine_is_watched_until_the_end_and_not_after(told, monkeypatch):
    monkeypatch.setattr("loops.dashboard.system.EVERY", 0.05)
    told.run()
    run = told.runs("tags.kind = 'loop'")[0].info.run_id
    told.client.update_run(run, "RUNNING")
    watch = Watch(told.uri, run)
    watch.begin()
    end = time.monotonic() + 20
    while time.monotonic() < end and not watched(told, run):
        time.sleep(0.05)
    watch.end()
    told.client.set_terminated(run)
    points = watched(told, run)
    time.sleep(0.3)
    assert points
    assert watched(told, run) == points


def watched(told, run):
    return len(told.client.get_metric_history(run, "system/cpu_utilization_percentage"))


def test_a_view_of_many_nodes_is_shorter_than_a_tag_may_be(told):
    experiment = told.client.create_experiment("test")
    charts = build(section(compose(["recipes=dice"]), "tracker"), "tracker").shown.charts
    views.offer(told.client, experiment, charts, [f"node_{number}" for number in range(300)])
    assert len(told.experiment.tags[views.TAG]) < 20_000
    assert view(told)["compareRunSections"][-1]["name"] == "node_299"


def test_the_shipped_configuration_of_the_dashboard_can_be_built_and_says_what_was_chosen():
    tracker = build(section(compose(["recipes=dice", "scale=paper", "run=mine"]), "tracker"), "tracker")
    assert tracker.shown.tags == {
        "run": "mine",
        "model": "smollm2_135m",
        "data": "seed",
        "scale": "paper",
        "gate": "none",
        "versus": "none",
        "engine": "hf",
    }
    assert len(tracker.shown.charts) == 4


def recorded(root, **tracker):
    plan = unroll(load(toy()))
    record.write(root / "run", plan, Store(root / "store"), words=["recipes=toy"], tracker=tracker, table={})
    return record.read(root / "run")


def test_the_dashboard_of_a_run_that_nobody_was_told_of_is_refused(tmp_path):
    with pytest.raises(RecipeError, match=r"nobody was told of run; say it again with tracker=mlflow: python -m loops"):
        serve(recorded(tmp_path, _target_="loops.tracker.Silent"), 5000)


def test_the_dashboard_of_a_server_elsewhere_is_a_link_to_its_charts(told, server, capsys):
    """A real server refuses paths for the source of a version, and keeps the rest as a local file does."""
    _, told.uri, _ = server
    told.run(registered="total", glance=Words())
    versions = told.client.search_model_versions("name = 'total_of_toy'")
    run = told.step("round-02/add").info.run_id
    assert {v.tags["round"]: v.run_id for v in versions}["2"] == run
    assert all(Path(v.tags["artifact"]).is_dir() for v in versions)
    assert len(told.client.search_traces(locations=[told.experiment.experiment_id], run_id=run)) == 2
    capsys.readouterr()
    serve(recorded(told.root, uri=told.uri, experiment="test"), 5000)
    place = f"{told.uri}/#/experiments/{told.experiment.experiment_id}/runs?viewStateShareKey=loops"
    assert capsys.readouterr().out.startswith(f"the charts: {place}")
