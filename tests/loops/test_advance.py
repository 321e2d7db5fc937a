"""A loop that is advanced: from where it stands, alone, as far as it may, and whoever wants to know is told."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from loops import outcome, record
from loops.__main__ import main
from loops.manifest import Manifest
from loops.patience import Patience
from loops.plan import unroll
from loops.recipe import load
from tests.loops.beside import being_made, wait_for
from tests.loops.recipes import toy

ROOT = Path(__file__).parents[2]
TOTALS = [12, 15, 19, 24]
RECIPE = """# @package _global_
# A total that grows.
name: toy
rounds: 2
carry: {total: {init: start, next: add}}
setup:
  start: {stage: {_target_: tests.loops.toys.Constant, value: 10}}
  step: {stage: {_target_: tests.loops.toys.Constant, value: 1}}
round:
  add:
    stage: {_target_: tests.loops.toys.Add, by: "${number}", trace: calls.txt}
    inputs: {left: total, right: step}
  over:
    stage: {_target_: tests.loops.toys.Over, limit: 15}
    inputs: {number: add}
"""


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """Where a loop is advanced."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes/toy.yaml").write_text(RECIPE)
    before = signal.getsignal(signal.SIGTERM)
    yield tmp_path
    signal.signal(signal.SIGTERM, before)


def say(command, *words):
    return main([command, "recipes=toy", "executor=inline", "tracker=silent", *words])


def advance(*words):
    return say("advance", *words)


def made():
    """The totals of the rounds that the run has links to."""
    rounds = sorted(Path("runs/toy").glob("round-*/add"))
    return [json.loads((link / "number.json").read_text()) for link in rounds]


def calls():
    return len(Path("calls.txt").read_text().splitlines())


def news():
    return outcome.read(Path("runs/toy"))


def test_each_advance_makes_the_next_round_and_nothing_twice():
    for number in (1, 2, 3):
        assert advance() == 0
        assert made() == TOTALS[:number]
        assert calls() == number
    assert news().outcome == "advanced"
    assert news().text.startswith("toy: advanced: from round 2 to 3")


def test_an_advance_goes_on_from_what_was_run_and_by_as_many_rounds_as_are_said():
    assert say("run", "rounds=2") == 0
    assert advance("rounds=+2") == 0
    assert made() == TOTALS
    assert calls() == 4
    assert record.read(Path("runs/toy")).words[-1] == "rounds=4", "so `status` says the command that goes on"


def test_a_round_that_is_not_whole_is_made_before_another_begins():
    assert say("run", "rounds=3") == 0
    shutil.rmtree(Path("runs/toy/round-03/over").resolve())
    assert advance() == 0
    assert made() == TOTALS[:3]
    assert calls() == 3


@pytest.mark.parametrize("word", ["rounds=3", "rounds=+0", "rounds=", "rounds=-1"])
def test_rounds_that_are_not_so_many_more_are_refused(word, capsys):
    assert advance(word) == 1
    assert "a loop is advanced by rounds=+1 or more" in capsys.readouterr().err
    assert not Path("runs").exists()


def test_a_loop_has_no_more_rounds_than_its_budget_and_a_larger_one_goes_on(capsys):
    assert advance("rounds=+5", "budget.max_rounds=2") == 0
    assert made() == TOTALS[:2]
    assert advance("budget.max_rounds=2") == 3
    assert "nothing to do: round 2 is made, and budget.max_rounds=2" in capsys.readouterr().out
    assert (news().outcome, news().rounds, news().left) == ("over", 2, {"rounds": 0})
    assert advance("budget.max_rounds=3") == 0
    assert made() == TOTALS[:3]


def test_a_run_of_more_rounds_than_the_budget_is_refused(capsys):
    assert say("run", "rounds=3", "budget.max_rounds=2") == 1
    assert "rounds=3 is more than budget.max_rounds=2" in capsys.readouterr().err


SLOW = "{stage: {_target_: tests.loops.toys.Slow, seconds: 0.1}}"


def test_when_its_hours_are_over_a_loop_is_not_advanced_until_there_are_more():
    assert advance(f"+round.slow={SLOW}") == 0
    assert advance("budget.max_hours=1e-5", f"+round.slow={SLOW}") == 3
    assert news().outcome == "over"
    assert "its hours are over (budget.max_hours=1e-05)" in news().text
    assert news().left == {"hours": 0.0}
    assert made() == TOTALS[:1]
    assert advance("budget.max_hours=100", f"+round.slow={SLOW}") == 0
    assert made() == TOTALS[:2]


def test_hours_that_end_before_the_first_round_are_no_advance():
    assert advance("budget.max_hours=1e-5", f"+setup.slow={SLOW}") == 3
    assert made() == []


@pytest.mark.parametrize(("hours", "last"), [(0.5, 0), (1.0, 0), (2.5, 1), (3, 1), (3.5, 2), (9, None)])
def test_hours_end_with_the_round_in_which_they_are_used_up(hours, last):
    plan = unroll(load(toy(rounds=3)))
    patience = Patience(hours=hours)
    for step in [*plan.steps, *plan.steps]:  # a step that is told of twice took its time once
        seconds = {"start": 0.0, "step": 3600.0, "add": 7200.0 if step.round < 3 else 0.0}[step.node]
        told = {"stage": {}, "inputs": {}, "metrics": {}, "provenance": {}, "files": {}}
        patience.note(step, Manifest(key=step.key, seconds=seconds, **told))
    ended = patience.ended(plan)
    assert (None if ended is plan else ended.rounds) == last
    assert [patience.allows(step) for step in plan.steps] == [last is None or step.round <= last for step in plan.steps]
    assert patience.spent == 5


def test_a_loop_whose_gate_kept_the_incumbent_is_not_advanced(capsys):
    patience = ["+patience.metric=over/over", "+patience.rounds=1"]
    for _ in range(3):
        assert advance(*patience) == 0
    assert made() == TOTALS[:3], "the third total is over the limit"
    assert advance(*patience) == 3
    assert "nothing to do: stopped after round 3: over/over was 1 in the last round" in capsys.readouterr().out
    assert made() == TOTALS[:3]
    assert advance("+patience.metric=over/over", "+patience.rounds=2") == 0


def test_an_advance_never_begins_a_loop_anew(capsys):
    assert advance("rounds=+2") == 0
    assert advance("round.add.stage.by=7") == 1
    told = capsys.readouterr().err
    assert "round-01/add is another than when it was made (by: 7.0, there 1.0)" in told
    assert "run=NAME" in told
    assert calls() == 2
    assert (news().outcome, news().rounds) == ("failed", 2)
    assert advance() == 0, "what was changed is taken back"
    assert made() == TOTALS[:3]


def test_a_loop_of_which_something_is_lost_keeps_its_rounds_and_is_not_begun_anew(capsys):
    assert say("run", "rounds=3") == 0
    shutil.rmtree(Path("runs/toy/round-01/over").resolve())
    assert advance("setup.start.stage.value=11") == 1
    assert "is another than when it was made" in capsys.readouterr().err
    assert advance() == 0
    assert record.read(Path("runs/toy")).steps[-1].round == 3
    assert made() == TOTALS[:3]
    assert news().rounds == 3
    assert calls() == 3


def test_what_is_measured_in_addition_is_made_for_the_earlier_rounds_too():
    assert advance() == 0
    also = "{stage: {_target_: tests.loops.toys.Over, limit: 1}, inputs: {number: add}}"
    assert advance(f"+round.also={also}") == 0
    assert sorted(path.parent.name for path in Path("runs/toy").glob("round-*/also")) == ["round-01", "round-02"]
    assert calls() == 2


def test_a_loop_that_has_not_begun_may_be_another_than_was_planned():
    assert advance() == 0
    shutil.rmtree("store")
    assert advance("round.add.stage.by=7") == 0
    assert made() == [18]


@contextmanager
def webhook(status=200):
    """A server that answers so, and the list of what it was sent."""
    got = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"notify.url=http://127.0.0.1:{server.server_port}/", got
        server.shutdown()


def test_a_webhook_is_told_of_success_and_failure_and_once_of_the_end():
    with webhook() as (url, got):
        assert advance(url, "budget.max_rounds=2") == 0
        assert advance(url, "round.add.stage.by=-1") == 1
        assert advance(url, "budget.max_rounds=2") == 0
        assert advance(url, "budget.max_rounds=2") == 3
        assert advance(url, "budget.max_rounds=2") == 3
    assert [each["outcome"] for each in got] == ["advanced", "failed", "advanced", "over"]
    assert [each["rounds"] for each in got] == [1, 1, 2, 2]
    assert got[0]["left"] == {"rounds": 1}
    assert got[1]["text"] == "toy: failed: RecipeError: round-01/add: by must be at least 0, not -1.0"


def test_a_failed_step_is_told_with_what_it_said_and_the_same_again_goes_on():
    fails = "{stage: {_target_: tests.loops.toys.Fail}, inputs: {number: add}}"
    with webhook() as (url, got):
        assert advance(url, f"+round.fail={fails}") == 2
    assert got[0]["outcome"] == "failed"
    assert "round-01/fail failed" in got[0]["text"]
    assert "the toy broke" in got[0]["text"]
    assert advance() == 0
    assert made() == TOTALS[:1]
    assert calls() == 1


def test_a_command_is_told_by_its_input_and_its_environment():
    Path("told.sh").write_text('cat > told.json; echo "$SELFLOOP_OUTCOME|$SELFLOOP_TEXT" > told.txt\n')
    assert advance("notify.command='sh ./told.sh'") == 0
    assert json.loads(Path("told.json").read_text())["outcome"] == "advanced"
    assert Path("told.txt").read_text().startswith("advanced|toy: advanced: from round 0 to 1")


def test_whoever_cannot_be_told_changes_nothing_but_for_a_warning(capsys):
    with webhook(status=403) as (url, _):
        assert advance(url, "notify.command='exit 7'") == 0
    told = capsys.readouterr().err
    assert "nobody was told (ValueError: the webhook answered 403)" in told
    assert "nobody was told (CalledProcessError" in told
    assert made() == TOTALS[:1]


def test_a_webhooks_address_is_a_secret(monkeypatch, capsys):
    hook = "http://localhost:9/services/T0/B0/abcdefgh"
    monkeypatch.setattr(sys, "argv", ["selfloop", "advance", f"notify.url={hook}"])
    assert advance(f"notify.url={hook}") == 0
    said = capsys.readouterr()
    kept = "".join(path.read_text() for path in Path().rglob("*.json"))
    assert "nobody was told (ConnectionError: localhost" in said.err
    assert "abcdefgh" not in said.err + said.out + kept
    assert "<notify.url>" in kept


def test_a_secret_is_told_to_nobody(monkeypatch):
    monkeypatch.setenv("PLANTED_TOKEN", "s3cr3t-of-the-environment")
    leak = "{stage: {_target_: tests.loops.toys.Leak, fails: true}}"
    with webhook() as (url, got):
        assert advance(url, f"+round.leak={leak}") == 2
    told = json.dumps(got) + Path("runs/toy/advance.json").read_text()
    assert "s3cr3t" not in told
    assert "<PLANTED_TOKEN>" in told


@pytest.mark.parametrize("section", ["notify: {command: 'touch pwned'}", "budget: {max_rounds: 1}"])
def test_a_recipe_file_does_not_say_who_is_told_or_how_far_one_may_go(section, capsys):
    Path("recipes/toy.yaml").write_text(RECIPE + section)
    assert advance() == 1
    assert "is no part of a recipe" in capsys.readouterr().err
    assert not Path("pwned").exists()


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("budget.max_rounds=0", "budget: max_rounds must be at least 1"),
        ("budget.max_hours=-1", "budget: max_hours must be above 0"),
        ("notify.url=hooks.example", "notify: url is http://... or https://..."),
        ("run=a/b", "run: 'a/b' is no plain name"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything(word, message, capsys):
    assert advance(word) == 1
    assert message in capsys.readouterr().err
    assert not Path("runs").exists()


def test_status_says_what_came_of_the_last_advance_and_what_is_left(capsys):
    advance("budget.max_rounds=3")
    capsys.readouterr()
    assert main(["status"]) == 0
    told = capsys.readouterr().out
    assert "advanced: from round 0 to 1" in told
    assert "budget left  2 rounds" in told


@pytest.mark.filterwarnings("ignore")
def test_mlflow_knows_as_tags_what_came_of_the_last_advance(capsys):
    from mlflow import MlflowClient

    assert main(["advance", "recipes=toy", "executor=inline", "budget.max_rounds=1"]) == 0
    assert main(["advance", "recipes=toy", "executor=inline", "budget.max_rounds=1"]) == 3
    client = MlflowClient("sqlite:///runs/mlflow.db")
    experiment = client.get_experiment_by_name("selfloop").experiment_id
    loop = record.read(Path("runs/toy")).key
    (run,) = client.search_runs([experiment], f"tags.loop = '{loop}' and tags.kind = 'loop'")
    assert run.data.tags["advance"] == "over"
    assert run.data.tags["advance.left"] == "0 rounds"
    assert "does not know" not in capsys.readouterr().err


def begun(*words):
    """An advance in a process of its own whose step takes its time; returns when that has begun."""
    slow = "+round.slow={stage: {_target_: tests.loops.toys.Slow, seconds: 600}}"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    asked = [sys.executable, "-m", "loops", "advance", "recipes=toy", "executor=inline", "tracker=silent", slow, *words]
    running = subprocess.Popen(asked, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    wait_for(lambda: being_made("."), running)
    return running


def test_only_one_advances_a_loop_and_who_died_is_followed(capsys):
    running = begun()
    try:
        assert advance() == 3
        assert "nothing to do: another one advances this loop" in capsys.readouterr().out
        assert news() is None, "what the other one will say is not overwritten"
        assert advance("run=other") == 0, "another run may"
    finally:
        running.kill()
        running.communicate()
    assert advance() == 0
    assert made() == TOTALS[:1]


def test_an_interrupted_advance_says_so_and_is_gone_on_with():
    running = begun()
    running.terminate()
    _, told = running.communicate(timeout=60)
    assert running.returncode == 130
    assert "Traceback" not in told
    assert (news().outcome, news().rounds) == ("interrupted", 0)
    assert advance() == 0
    assert made() == TOTALS[:1]
    assert calls() == 1
