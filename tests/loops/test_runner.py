"""Running: what is missing is made, what is there is not, and what fails says how to go on."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from loops.errors import StepFailed
from loops.executors import Inline, Local
from loops.plan import unroll
from loops.recipe import load
from loops.runner import Runner
from loops.store import Store
from loops.tracker import Silent
from tests.loops.beside import alive, being_made, wait_for
from tests.loops.recipes import TOYS, toy


class Listener(Silent):
    """A tracker that remembers."""

    def __init__(self):
        self.made, self.cached, self.lost, self.status = [], [], [], None

    def finished(self, step, manifest, artifact, cached):
        (self.cached if cached else self.made).append(step.id)

    def failed(self, step):
        self.lost.append((step.id, list(self.made)))

    def end(self, status):
        self.status = status


def run(config, root, executor=None, run_dir="run", listener=None):
    listener = listener or Listener()
    plan = unroll(load(config))
    Runner(Store(root / "store"), executor or Inline(), [listener], root / run_dir).run(plan)
    return listener


def value(root, name):
    return json.loads((root / "run" / name / "number.json").read_text())


def test_the_fold_is_computed(tmp_path):
    listener = run(toy(rounds=3), tmp_path)
    assert value(tmp_path, "round-03/add") == 10 + 3 * 1 + (1 + 2 + 3)
    assert value(tmp_path, "final/total") == 19
    assert listener.status == "FINISHED"


def test_the_same_run_again_makes_nothing(tmp_path):
    run(toy(), tmp_path)
    again = run(toy(), tmp_path)
    assert again.made == []
    assert again.cached == ["setup/step", "setup/start", "round-01/add", "round-02/add"]


def test_one_more_round_makes_only_that_round(tmp_path):
    run(toy(), tmp_path)
    assert run(toy(rounds=3), tmp_path).made == ["round-03/add"]


def test_a_changed_field_makes_only_what_is_downstream(tmp_path):
    run(toy(), tmp_path)
    changed = toy(materials={"step": {"stage": {"value": 2.0}}})
    assert run(changed, tmp_path).made == ["setup/step", "round-01/add", "round-02/add"]


def test_a_link_follows_its_step(tmp_path):
    run(toy(), tmp_path)
    run(toy(materials={"step": {"stage": {"value": 2.0}}}), tmp_path)
    assert value(tmp_path, "setup/step") == 2.0


def test_steps_that_are_the_same_are_made_once(tmp_path):
    twin = {"stage": {"_target_": f"{TOYS}.Constant", "value": 10.0}}
    listener = run(toy(setup={"twin": twin}), tmp_path)
    assert "setup/start" in listener.made
    assert "setup/twin" in listener.cached


def failing(**others):
    node = {"stage": {"_target_": f"{TOYS}.Fail"}, "inputs": {"number": "start"}}
    return toy(setup={"broken": node, **others})


def test_a_failing_step_says_which_and_how_to_go_on(tmp_path):
    with pytest.raises(StepFailed) as failed:
        run(failing(), tmp_path)
    message = str(failed.value)
    assert "setup/broken failed: RuntimeError: the toy broke" in message
    assert "loops.worker" in message
    assert "run the same command again" in message
    log = tmp_path / "run/logs/setup-broken.log"
    assert str(log) in message
    assert "Traceback" in log.read_text()


def test_what_had_finished_before_a_failure_is_kept_and_the_draft_is_no_artifact(tmp_path):
    with pytest.raises(StepFailed):
        run(failing(), tmp_path)
    again = run(toy(), tmp_path)
    assert "setup/start" in again.cached
    assert not list((tmp_path / "store/artifacts").rglob("half"))


def test_a_step_can_be_run_alone_by_the_command_that_the_failure_names(tmp_path):
    run(toy(), tmp_path)
    (order,) = (tmp_path / "run/orders").glob("round-01-add-*.json")
    key = json.loads(order.read_text())["key"]
    artifact = Store(tmp_path / "store").path(key)
    before = (artifact / "number.json").read_bytes()
    subprocess.run(["rm", "-r", str(artifact)], check=True)
    done = subprocess.run([sys.executable, "-m", "loops.worker", str(order)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (artifact / "number.json").read_bytes() == before


def test_a_worker_that_is_killed_fails_its_step_and_the_next_run_goes_on(tmp_path):
    node = {"stage": {"_target_": f"{TOYS}.DieOnce", "marker": str(tmp_path / "marker")}, "inputs": {"number": "start"}}
    config = toy(setup={"fragile": node})
    with pytest.raises(StepFailed, match="setup/fragile failed: the worker process died"):
        run(config, tmp_path, Local())
    assert not (tmp_path / "run/setup/fragile").exists()
    again = run(config, tmp_path, Local())
    assert "setup/fragile" in again.made
    assert not (tmp_path / "run/setup/fragile/half").exists()


def test_independent_steps_run_at_once_where_the_executor_has_room(tmp_path):
    meet = {"_target_": f"{TOYS}.Meet", "place": str(tmp_path)}
    nodes = {name: {"stage": {**meet, "name": name, "other": other}} for name, other in (("a", "b"), ("b", "a"))}
    assert run(toy(setup=nodes), tmp_path, Local(workers=2)).status == "FINISHED"


def test_a_runner_that_is_killed_leaves_no_worker_behind(tmp_path):
    script = f"""
import os, sys
os.environ["SELFLOOP_TRUST"] = "tests"
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from pathlib import Path
from loops.executors import Local
from loops.plan import unroll
from loops.recipe import load
from loops.runner import Runner
from loops.store import Store
from tests.loops.recipes import TOYS, toy
if __name__ == "__main__":
    slow = {{"stage": {{"_target_": TOYS + ".Slow", "seconds": 600}}}}
    plan = unroll(load(toy(setup={{"slow": slow}})))
    Runner(Store(Path({str(tmp_path)!r}) / "store"), Local(), [], Path({str(tmp_path)!r}) / "run").run(plan)
"""
    (tmp_path / "main.py").write_text(script)
    runner = subprocess.Popen([sys.executable, str(tmp_path / "main.py")])
    wait_for(lambda: being_made(tmp_path), runner)
    children = subprocess.run(["ps", "-o", "pid=", "--ppid", str(runner.pid)], capture_output=True, text=True)
    pids = [int(pid) for pid in children.stdout.split()]
    assert pids
    runner.send_signal(signal.SIGKILL)
    runner.wait()
    wait_for(lambda: not any(alive(pid) for pid in pids))


def test_a_worker_that_dies_takes_no_other_step_with_it(tmp_path):
    die = {"stage": {"_target_": f"{TOYS}.DieOnce", "marker": str(tmp_path / "marker")}, "inputs": {"number": "start"}}
    slow = {"stage": {"_target_": f"{TOYS}.Slow", "seconds": 2}}
    listener = Listener()
    with pytest.raises(StepFailed) as failed:
        run(toy(setup={"slow": slow, "fragile": die}), tmp_path, Local(workers=2), listener=listener)
    assert [id for id, _ in listener.lost] == ["setup/fragile"]
    assert "setup/slow" in listener.made
    assert "setup/slow" not in listener.lost[0][1], "a failure is told while others run"
    assert "setup/fragile failed" in str(failed.value)
    assert "setup/slow failed" not in str(failed.value)
    assert (tmp_path / "run/setup/slow/number.json").exists()


def test_what_has_changed_since_it_was_planned_is_not_made_under_the_old_key(tmp_path, monkeypatch):
    from tests.loops.toys import Add

    run(toy(), tmp_path)
    (order,) = (tmp_path / "run/orders").glob("round-01-add-*.json")
    subprocess.run(["rm", "-r", str(Store(tmp_path / "store").path(json.loads(order.read_text())["key"]))], check=True)
    monkeypatch.setattr(Add, "VERSION", 2)
    from loops.worker import work

    with pytest.raises(StepFailed, match="has changed since it was planned"):
        work(order)


def test_links_of_another_plan_are_removed(tmp_path):
    run(toy(rounds=3), tmp_path)
    run(toy(rounds=1, materials={"step": {"stage": {"value": 2.0}}}), tmp_path)
    assert not (tmp_path / "run/round-02/add").is_symlink()
    assert value(tmp_path, "final/total") == value(tmp_path, "round-01/add")


def test_an_artifact_that_was_half_deleted_is_made_again(tmp_path):
    run(toy(), tmp_path)
    (tmp_path / "run/round-02/add/manifest.json").unlink()
    assert run(toy(), tmp_path).made == ["round-02/add"]


def test_an_order_whose_artifact_exists_is_not_carried_out_again(tmp_path):
    trace = tmp_path / "trace"
    config = toy(round={"add": {"stage": {"trace": str(trace)}}})
    run(config, tmp_path)
    from loops.worker import work

    work(next((tmp_path / "run/orders").glob("round-01-add-*.json")))
    assert trace.read_text().count("called") == 2
    assert os.path.islink(tmp_path / "run/round-01/add")
