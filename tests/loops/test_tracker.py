"""MLflow on a local file: what is told, once, and that a server that is down never fails a step."""

import os
import signal
import socket
import time
from pathlib import Path

import pytest

from loops.executors import Inline
from loops.plan import unroll
from loops.recipe import load
from loops.runner import Runner
from loops.store import Store
from loops.tracker import MLflow, Silent
from tests.loops.recipes import toy

pytestmark = pytest.mark.filterwarnings("ignore")


def run(root, uri, **changes):
    plan = unroll(load(toy(**changes)))
    tracker = MLflow(uri=uri, experiment="test", artifacts=str(root / "mlflow"), patience=300)
    Runner(Store(root / "store"), Inline(), [tracker], root / "run").run(plan)


def runs(uri):
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    found = client.search_runs([client.get_experiment_by_name("test").experiment_id])
    parents = [run for run in found if run.data.tags["kind"] == "loop"]
    return client, parents, [run for run in found if run.data.tags["kind"] == "step"]


def test_a_loop_is_a_run_with_its_curve_and_its_steps_are_runs_in_it(tmp_path, uri):
    run(tmp_path, uri)
    client, parents, children = runs(uri)
    assert [parent.info.status for parent in parents] == ["FINISHED"]
    curve = client.get_metric_history(parents[0].info.run_id, "add/value")
    assert [(point.step, point.value) for point in curve] == [(1, 12.0), (2, 15.0)]
    assert {child.data.tags["step"] for child in children} == {
        "setup/step",
        "setup/start",
        "round-01/add",
        "round-02/add",
    }
    add = next(child for child in children if child.data.tags["step"] == "round-02/add")
    assert add.data.params["by"] == "2.0"
    assert add.data.metrics["value"] == 15.0


def test_a_page_about_a_loop_is_kept_with_it_and_replaced_by_a_newer_one(tmp_path, uri, capsys):
    run(tmp_path, uri)
    tracker = MLflow(uri=uri, experiment="test")
    page = tmp_path / "report.html"
    capsys.readouterr()
    for text in ("old", "new"):
        page.write_text(text)
        tracker.keep(unroll(load(toy())).key, page)
    assert capsys.readouterr().err == ""
    client, parents, _ = runs(uri)
    kept = client.download_artifacts(parents[0].info.run_id, "report.html", str(tmp_path / "mlflow"))
    assert Path(kept).read_text() == "new"
    capsys.readouterr()
    tracker.keep("another", page)
    assert "it knows no such loop" in capsys.readouterr().err


def test_the_same_loop_again_is_told_only_once(tmp_path, uri):
    run(tmp_path, uri)
    run(tmp_path, uri)
    _, parents, children = runs(uri)
    assert len(parents) == 1
    assert len(children) == 4


def test_a_loop_that_has_become_longer_goes_on_in_its_run_and_nothing_is_told_twice(tmp_path, uri):
    run(tmp_path, uri)
    run(tmp_path, uri, rounds=3)
    client, parents, children = runs(uri)
    (parent,) = parents
    told = client.get_metric_history(parent.info.run_id, "add/value")
    assert [point.step for point in told] == [1, 2, 3]
    assert parent.data.tags["rounds"] == "3"
    assert len({child.data.tags["step"] for child in children}) == len(children)


def test_a_step_that_was_being_told_when_the_runner_died_is_told_whole(tmp_path, uri):
    run(tmp_path, uri)
    client, parents, children = runs(uri)
    before = sorted(child.info.run_id for child in children)
    for open_run in (parents[0], children[0]):
        client.update_run(open_run.info.run_id, status="RUNNING")
    run(tmp_path, uri)
    client, parents, children = runs(uri)
    assert [parent.info.status for parent in parents] == ["FINISHED"]
    assert len(client.get_metric_history(parents[0].info.run_id, "add/value")) == 2
    assert sorted(child.info.run_id for child in children) == before
    assert {child.info.status for child in children} == {"FINISHED"}
    assert parents[0].data.tags["recipe"] == "toy"


def test_a_server_that_never_answers_holds_nothing_up_for_long(tmp_path, capsys):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        plan = unroll(load(toy()))
        tracker = MLflow(uri=f"http://127.0.0.1:{silent.getsockname()[1]}", experiment="test", patience=1)
        begun = time.monotonic()
        Runner(Store(tmp_path / "store"), Inline(), [tracker], tmp_path / "run").run(plan)
    assert time.monotonic() - begun < 8
    assert "not done within 1 s" in capsys.readouterr().err


def test_steps_that_gather_are_told_together_in_many_groups_and_each_once(tmp_path, uri, monkeypatch):
    monkeypatch.setattr("loops.tracker.GROUP", 3)
    run(tmp_path, uri, rounds=8)
    client, parents, children = runs(uri)
    curve = client.get_metric_history(parents[0].info.run_id, "add/value")
    assert [point.step for point in curve] == list(range(1, 9))
    assert len(children) == 10
    assert parents[0].data.tags["last_step"] == "round-08/add"


def test_no_step_waits_for_a_server_that_never_answers(tmp_path):
    """The steps are done before the runner begins to wait for what is still to be told."""

    class Watched(MLflow):
        def end(self, status):
            assert (tmp_path / "run/final/total/number.json").exists()
            assert self._thread.is_alive()
            super().end(status)

    with socket.create_server(("127.0.0.1", 0)) as silent:
        plan = unroll(load(toy(rounds=30)))
        tracker = Watched(uri=f"http://127.0.0.1:{silent.getsockname()[1]}", experiment="test", patience=0.1)
        Runner(Store(tmp_path / "store"), Inline(), [tracker], tmp_path / "run").run(plan)


def test_a_server_that_is_down_costs_a_warning_and_no_step(tmp_path, capsys):
    run(tmp_path, "http://127.0.0.1:9")
    assert (tmp_path / "run/final/total/number.json").exists()
    assert "the loop goes on without it" in capsys.readouterr().err


class Signals(Silent):
    """Sends a signal to the server when the second round has ended, or when everything has."""

    def __init__(self, running, when, what):
        self.running, self.when, self.what = running, when, what

    def finished(self, step, manifest, artifact, cached):
        if self.when == step.id:
            os.killpg(self.running.pid, self.what)

    def end(self, status):
        if self.when == "end":
            os.killpg(self.running.pid, self.what)


def test_a_server_that_hangs_at_the_end_or_dies_in_the_middle_costs_no_step_and_is_told_the_rest_the_next_time(
    server, tmp_path, capsys
):
    running, url, file = server
    faults = ((2, "end", signal.SIGSTOP), (5, "round-03/add", signal.SIGKILL))
    for rounds, when, what in faults:
        plan, tracker = unroll(load(toy(rounds=rounds))), MLflow(uri=url, experiment="test", patience=2)
        trackers = [Signals(running, when, what), tracker]
        Runner(Store(tmp_path / "store"), Inline(), trackers, tmp_path / "run").run(plan)
        assert (tmp_path / f"run/round-0{rounds}/add/number.json").exists()
        assert "the loop goes on without it" in capsys.readouterr().err
        os.killpg(running.pid, signal.SIGCONT)
    for rounds in (2, 5):
        run(tmp_path, file, rounds=rounds)
    client, parents, _ = runs(file)
    assert [parent.info.status for parent in parents] == ["FINISHED"]
    told = client.get_metric_history(parents[0].info.run_id, "add/value")
    assert [point.step for point in told] == [1, 2, 3, 4, 5]
