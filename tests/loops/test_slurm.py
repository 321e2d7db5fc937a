"""Steps as submitit's jobs, on its local executor: the same result, tried again, put back, outliving their runner."""

import os
import signal
from importlib.util import find_spec

import pytest

from loops.errors import RecipeError, StepFailed
from loops.stage import build
from loops.store import Store
from tests.loops.away import begin, slow
from tests.loops.beside import alive, being_made, wait_for
from tests.loops.recipes import TOYS, toy
from tests.loops.test_runner import failing, run, value
from tests.recipes.test_plans import plan

real = pytest.mark.skipif(find_spec("submitit") is None, reason="submitit is not installed: pip install submitit")


def slurm(**fields):
    return build({"_target_": "loops.slurm_executor.Slurm", "cluster": "local", **fields}, "executor")


@pytest.mark.skipif(find_spec("submitit") is not None, reason="submitit is installed here")
def test_without_submitit_it_is_refused_while_planning():
    with pytest.raises(RecipeError, match="make setup-cluster"):
        slurm()


@real
def test_a_loop_of_jobs_comes_to_the_same(tmp_path):
    listener = run(toy(), tmp_path / "jobs", slurm(workers=2))
    run(toy(), tmp_path / "here")
    assert sorted(listener.made) == ["round-01/add", "round-02/add", "setup/start", "setup/step"]
    assert value(tmp_path / "jobs", "final/total") == value(tmp_path / "here", "final/total")
    assert Store(tmp_path / "jobs/store").keys() == Store(tmp_path / "here/store").keys()


@real
def test_a_step_that_raises_is_told_in_a_line_and_not_tried_again(tmp_path):
    with pytest.raises(StepFailed, match="setup/broken failed: RuntimeError: the toy broke"):
        run(failing(), tmp_path, slurm())


@real
def test_a_job_that_dies_is_tried_again(tmp_path, monkeypatch):
    monkeypatch.setattr("submitit.core.core.Job._results_timeout_s", 1)
    node = {"stage": {"_target_": f"{TOYS}.DieOnce", "marker": str(tmp_path / "marker")}, "inputs": {"number": "start"}}
    listener = run(toy(rounds=0, setup={"fragile": node}), tmp_path, slurm(retries=1))
    assert "setup/fragile" in listener.made
    assert not (tmp_path / "run/setup/fragile/half").exists()


def half_made(place):
    """The folder in which the slow step is being made, and the process that makes it."""
    [half] = being_made(place)
    return half.parent, int(half.parent.name.split(".")[1])


@real
def test_a_job_outlives_the_runner_that_was_killed_and_is_not_done_twice(tmp_path):
    runner = begin({"_target_": "loops.slurm_executor.Slurm", "cluster": "local"}, tmp_path)
    wait_for(lambda: being_made(tmp_path), runner)
    runner.kill()
    runner.wait()
    runner.stderr.close()
    listener = run(slow(tmp_path), tmp_path, slurm())
    assert "setup/slow" in listener.made
    assert (tmp_path / "trace").read_text() == "made\n"
    assert run(slow(tmp_path), tmp_path, slurm()).made == []


@real
def test_ctrl_c_cancels_the_jobs(tmp_path):
    runner = begin({"_target_": "loops.slurm_executor.Slurm", "cluster": "local"}, tmp_path, seconds=600)
    wait_for(lambda: being_made(tmp_path), runner)
    _, pid = half_made(tmp_path)
    runner.send_signal(signal.SIGINT)
    assert "KeyboardInterrupt" in runner.communicate(timeout=90)[1]
    wait_for(lambda: not alive(pid))
    assert not (tmp_path / "trace").exists()


@real
def test_a_job_whose_time_is_over_is_put_back_and_goes_on(tmp_path):
    runner = begin({"_target_": "loops.slurm_executor.Slurm", "cluster": "local"}, tmp_path)
    wait_for(lambda: being_made(tmp_path), runner)
    before, pid = half_made(tmp_path)
    os.kill(pid, signal.SIGUSR2)  # what Slurm sends some time before the end
    assert runner.wait(timeout=120) == 0, runner.stderr.read()
    runner.stderr.close()
    assert not before.exists()
    assert not alive(pid)
    assert (tmp_path / "run/setup/slow/number.json").exists()
    assert len(list((tmp_path / "run/jobs").glob("*_submitted.pkl"))) == 2, "one job a step"


@real
def test_where_a_step_runs_never_changes_its_key(tmp_path):
    assert plan("dice", "executor=slurm", "executor.cluster=local", cwd=tmp_path) == plan("dice", cwd=tmp_path)


@real
def test_what_submitit_does_not_know_is_refused_while_planning():
    with pytest.raises(RecipeError, match="slurm_partitoin"):
        slurm(options={"slurm_partitoin": "gpu"})
    with pytest.raises(RecipeError, match="srun"):
        slurm(cluster="slurm")
    with pytest.raises(RecipeError, match="timeout_min"):
        slurm(options={"timeout_min": 5})
    assert slurm(options={"slurm_partition": "gpu"}, resources={"stages.train": {"gpus": 8, "minutes": 60}})
