"""Looking at runs from the shell: what a step holds, how far a run is, what made two runs differ."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from loops import record
from loops.__main__ import main
from loops.console import rounds_table
from loops.errors import StepFailed
from loops.executors import Inline, Local
from loops.plain import lay_out, plain
from loops.plan import unroll
from loops.recipe import load
from loops.runner import Runner
from loops.status import Standing, standings, time_left
from loops.store import Store
from tests.loops.recipes import TOYS, toy

STORE, RUNS = Path("store"), Path("runs")


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """Where runs and store are made."""
    monkeypatch.chdir(tmp_path)


def planned(name="toy", **changes):
    """Write the plan of a run, as its command line does."""
    plan, store = unroll(load(toy(**changes))), Store(STORE)
    told = {"words": ["recipes=toy"], "tracker": {"_target_": "loops.tracker.Silent"}}
    record.write(RUNS / name, plan, store, **told, table={"total": "{add/value:.0f}"})
    return plan


def begun(name="toy", executor=None, **changes):
    """Write the plan of a run and run it."""
    plan = planned(name, **changes)
    Runner(Store(STORE), executor or Inline(), [], RUNS / name).run(plan)
    return plan


def said(capsys, *words):
    """What a command prints; it must succeed."""
    capsys.readouterr()
    assert main(words) == 0
    return capsys.readouterr().out


def states(name="toy"):
    return {each.step.id: each.state for each in standings(record.read(RUNS / name))}


BROKEN = {"round": {"add": None, "fail": {"stage": {"_target_": f"{TOYS}.Fail"}, "inputs": {"number": "total"}}}}
BROKEN["carry"] = {"total": {"next": "fail"}}


def test_a_run_leaves_its_plan_whole_beside_its_links():
    plan = begun()
    read = record.read(RUNS / "toy")
    assert [(step.id, step.key) for step in read.steps] == [(step.id, step.key) for step in plan.steps]
    assert read.key == plan.key
    assert read.step("round-02/add").inputs == {"left": "round-01/add", "right": "setup/step"}
    assert read.opened().read(plan.steps[0].key) is not None
    assert not list((RUNS / "toy").glob(".plan*"))


def test_the_command_line_writes_the_plan_of_what_it_runs(capsys):
    Path("recipes").mkdir()
    Path("recipes/one.yaml").write_text(
        "# @package _global_\n# One.\nname: one\nrounds: 0\ncarry: {}\nround: {}\n"
        "setup:\n  one: {stage: {_target_: tests.loops.toys.Constant, value: 1}}\n"
    )
    assert main(["recipes=one", "tracker=silent", "executor=inline"]) == 0
    assert record.read(RUNS / "one").command == "python -m loops run recipes=one tracker=silent executor=inline"
    assert "1 of 1 steps finished" in said(capsys, "status")


def test_show_prints_fields_numbers_and_what_was_read(capsys):
    begun()
    told = said(capsys, "show", "round-02/add")
    assert "toy round-02/add, made in" in told
    lines = [line.split() for line in told.splitlines()]
    for expected in (["by", "2"], ["reads", "left", "round-01/add"], ["value", "15"], ["number.json", "4", "B"]):
        assert expected in lines


def test_show_cuts_what_is_long_and_interprets_nothing_that_a_model_wrote(capsys):
    import pyarrow as pa
    import pyarrow.parquet as parquet

    begun()
    hostile = "[bold red]\x1b[2J\x1b]0;title\x07\u202eabc[/]"
    rows = [{"text": [{"role": "user", "content": hostile}], "long": "x" * 5000, "ids": list(range(99)), "none": None}]
    at = Path(os.path.realpath(RUNS / "toy/round-01/add"))
    parquet.write_table(pa.Table.from_pylist(rows * 7), at / "part-00000.parquet")
    told = said(capsys, "show", "round-01/add", "rows=2")
    assert r"user: [bold red]\x1b[2J\x1b]0;title\x07\u202eabc[/]" in told
    assert not {"\x1b", "\x07", "\u202e"} & set(told)
    assert "x" * 100 in told
    assert "x" * 500 not in told.replace("\n", "").replace(" ", "")
    assert "…" in told
    assert "[0, 1, 2, 3, 4, 5, 6, 7, … 99 in all]" in told
    assert "none" not in told
    assert told.count("row ") == 2
    assert "5 more rows: rows=7 shows all" in told


def test_logs_are_printed_without_what_would_move_the_cursor(capsys):
    begun()
    (RUNS / "toy/logs/round-01-add.log").write_bytes(b"10%\r20%\r\n\x1b[31mred\xff\n")
    assert said(capsys, "logs", "round-01/add") == "10%\n20%\n\\x1b[31mred\\xff\n"


def test_a_table_of_rounds_shows_brackets_and_colons_as_they_are(capsys):
    lay_out(rounds_table({"rate [bold]": "{a/b:.1f} [red] :smile:"}, {1: {"a/b": 0.5}}))
    assert capsys.readouterr().out.split() == ["round", "rate", "[bold]", "1", "0.5", "[red]", ":smile:"]


def test_letters_of_every_language_stay_as_they_are():
    text = "naïve 東京 שלום 👩\u200d🚀\n\tπ\u00a0%"
    assert plain(text) == text


def test_status_of_a_finished_run_says_what_each_round_took(capsys):
    begun()
    told = said(capsys, "status")
    assert "toy (toy): 4 of 4 steps finished" in told
    assert [line.split()[:4] for line in told.splitlines()[3:]] == [
        ["setup", "2", "of", "2"],
        ["1", "1", "of", "1"],
        ["2", "1", "of", "1"],
    ]


def test_status_tells_a_failed_step_with_what_it_said_and_what_waits_for_it(capsys):
    with pytest.raises(StepFailed):
        begun(**BROKEN)
    assert states() == {
        "setup/start": "finished",
        "round-01/fail": "failed",
        "round-02/fail": "waiting",
    }
    told = said(capsys, "status")
    assert "failed       round-01/fail: RuntimeError: the toy broke" in told
    assert "more: selfloop logs round-01/fail run=toy" in told
    assert "to go on: python -m loops run recipes=toy" in told
    assert "RuntimeError: the toy broke" in said(capsys, "logs", "round-01/fail")


def test_status_tells_a_step_that_was_killed_from_one_that_failed():
    slain = {"stage": {"_target_": f"{TOYS}.DieOnce", "marker": "died"}, "inputs": {"number": "total"}}
    with pytest.raises(StepFailed):
        begun(executor=Local(), round={"add": None, "die": slain}, carry={"total": {"next": "die"}})
    end = time.monotonic() + 30
    while states()["round-01/die"] == "running" and time.monotonic() < end:
        time.sleep(0.05)  # the system takes a moment to end what was killed
    assert states()["round-01/die"] == "interrupted"


def test_status_tells_what_is_being_made_now_and_what_comes_next():
    plan = planned()
    keys = {step.id: step.key for step in plan.steps}
    with Store(STORE).claim(keys["setup/start"]):
        assert states() == {
            "setup/start": "running",
            "setup/step": "next",
            "round-01/add": "waiting",
            "round-02/add": "waiting",
        }


def test_status_says_how_long_a_maker_on_another_machine_has_been_silent(capsys):
    plan = planned()
    draft = STORE / "drafts" / plan.steps[0].key / "0123abcd.1.2.89abcdef"
    draft.mkdir(parents=True)
    (draft / ".claim").touch()
    assert "no sign of life" not in said(capsys, "status")
    os.utime(draft / ".claim", (0, 0))
    told = said(capsys, "status")
    assert f"running      {plan.steps[0].id}" in told
    assert "no sign of life for" in told


def test_time_left_is_what_earlier_rounds_took_less_what_has_run_already():
    planned(rounds=4)
    steps = {step.id: step for step in record.read(RUNS / "toy").steps}

    def standing(id, state, seconds=0.0):
        return Standing(step=steps[id], state=state, seconds=seconds)

    first = [standing("round-01/add", "finished", 10.0), standing("round-02/add", "finished", 20.0)]
    rest = [standing("round-03/add", "running", 5.0), standing("round-04/add", "waiting")]
    assert time_left([*first, *rest]) == (10.0 + 15.0, [])
    assert time_left(rest) == (0.0, ["add"])
    assert time_left([*first, standing("round-03/add", "running", 500.0)]) == (0.0, [])


STOPPING = """# @package _global_
# Stops when the total is over the limit.
name: toy
rounds: 4
carry: {total: {init: start, next: add}}
table: {total: "{add/value:.0f}"}
setup: {start: {stage: {_target_: tests.loops.toys.Constant, value: 10}}}
round:
  add: {stage: {_target_: tests.loops.toys.Add}, inputs: {left: total, right: total}}
  gate: {stage: {_target_: tests.loops.toys.Over, limit: 30}, inputs: {number: add}}
"""
"""Totals are 20, 40, 80, 160."""


def test_after_an_early_stop_the_plan_is_what_was_begun_and_more_patience_goes_on(capsys):
    Path("recipes").mkdir()
    Path("recipes/toy.yaml").write_text(STOPPING)
    command = ["recipes=toy", "tracker=silent", "executor=inline", "+patience={metric: gate/over, rounds: 1}"]

    def steps():
        return [step.id for step in record.read(RUNS / "toy").steps]

    for _ in range(2):  # the same again stops at the same place
        assert main(command) == 0
        assert steps()[-1] == "round-02/gate"
    key = record.read(RUNS / "toy").key
    told = said(capsys, "status")
    assert "toy (toy): 5 of 5 steps finished" in told
    assert "stopped after round 2: gate/over was 1 in the last round (patience.rounds=1)" in told
    assert "with more patience or budget this goes on: python -m loops run recipes=toy" in told
    assert "to go, " not in told
    assert main([*command, "patience.rounds=2"]) == 0
    assert steps()[-1] == "round-03/gate"
    assert main([*command, "patience.rounds=null"]) == 0
    assert steps()[-1] == "round-04/gate"
    assert "stopped" not in said(capsys, "status")
    assert main(command) == 0
    assert steps()[-1] == "round-02/gate"
    assert sorted(path.name for path in (RUNS / "toy").glob("round-*/*")) == ["add", "add", "gate", "gate"]
    assert record.read(RUNS / "toy").key == key, "it is the same loop"
    assert not (RUNS / "toy/plan-before.json").exists()


def test_why_follows_a_difference_to_the_step_that_differs_in_itself(capsys):
    begun("one")
    begun("other", materials={"step": {"stage": {"value": 4.0}}})
    told = said(capsys, "why", "round-02/add", "run=other", "other=one")
    assert told.splitlines()[0].startswith("round-02/add is ")
    assert told.splitlines()[1:] == ["  setup/step  value: 4.0, there 1.0"]
    assert "the same step" in said(capsys, "why", "setup/start", "run=other", "other=one")


def test_why_tells_what_a_step_reads_otherwise(capsys):
    begun("one")
    begun("other", round={"add": {"inputs": {"right": "start"}}})
    told = said(capsys, "why", "round-01/add", "run=other", "other=one")
    assert told.splitlines()[1:] == ["  round-01/add  reads right: setup/start, there setup/step"]


def test_why_compares_with_the_plan_before_if_no_run_is_named(capsys):
    begun()
    begun(materials={"step": {"stage": {"value": 2.0}}})
    told = said(capsys, "why", "round-01/add")
    assert "in toy before, because:" in told
    assert "  setup/step  value: 2.0, there 1.0" in told


def test_the_same_plan_again_does_not_push_out_the_one_before(capsys):
    begun()
    begun(materials={"step": {"stage": {"value": 2.0}}})
    begun(materials={"step": {"stage": {"value": 2.0}}})
    assert "value: 2.0, there 1.0" in said(capsys, "why", "round-01/add")


def test_diff_tells_causes_apart_from_what_follows_and_shows_both_tables(capsys):
    begun("one")
    begun("other", rounds=3, materials={"step": {"stage": {"value": 4.0}}})
    told = said(capsys, "diff", "one", "other")
    assert "one and other: 1 steps are the same, 3 differ" in told
    assert "  round-03/add  only in other" in told
    assert "  setup/step  value: 1.0, there 4.0" in told
    assert "  2 more differ only because of what they read" in told
    assert [line.split() for line in told.splitlines() if line.split()[:1] == ["2"]][1:] == [["2", "15"], ["2", "21"]]


def test_diff_tells_once_what_differs_alike_in_every_round(capsys):
    begun("one")
    begun("other", round={"add": {"stage": {"by": 7}}})
    assert "  round-01/add, round-02/add  by: " not in said(capsys, "diff", "one", "other"), "it was 1 and 2"
    begun("one", round={"add": {"stage": {"by": 3}}})
    assert "  round-01/add, round-02/add  by: 3, there 7\n" in said(capsys, "diff", "one", "other").replace(".0", "")


def test_fields_of_different_stages_are_not_compared(capsys):
    begun("one")
    begun("other", setup={"start": {"stage": {"_target_": f"{TOYS}.Rounded"}}})
    told = said(capsys, "diff", "one", "other").splitlines()
    assert f"  setup/start  stage: {TOYS}.Constant, there {TOYS}.Rounded" in told
    assert sum("setup/start" in line for line in told) == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["show"], "show takes STEP"),
        (["show", "round-01/ad"], "toy has no step 'round-01/ad'; did you mean 'round-01/add'?"),
        (["show", "round-01/add", "rows=many"], "rows=many"),
        (["show", "round-01/add", "row=1"], "show knows no row=; did you mean 'rows='?"),
        (["status", "run=tox"], "did you mean 'toy'?"),
        (["status", "runs=none"], "no run in none has a plan.json"),
        (["diff", "toy"], "diff takes ONE OTHER"),
        (["why", "round-01/add"], "nothing to say"),
        (["shw", "round-01/add"], "there is no command 'shw'; did you mean 'show'?"),
        (["show", "round-01/add", "--yes"], "--yes is for gc"),
    ],
)
def test_what_they_do_not_know_is_refused_in_a_line(words, message, capsys):
    begun()
    capsys.readouterr()
    assert main(words) == 1
    told = capsys.readouterr().err
    assert told.startswith("RecipeError: ")
    assert told.count("\n") == 1
    assert message in told


def test_a_step_that_is_not_there_is_said_to_be_so(capsys):
    planned()
    assert main(["show", "round-01/add"]) == 1
    assert "it is not made yet" in capsys.readouterr().err
    assert main(["logs", "round-01/add"]) == 1
    assert "not begun" in capsys.readouterr().err


def test_a_plan_that_cannot_be_read_is_refused_with_the_way_out(capsys):
    begun()
    (RUNS / "toy/plan.json").write_text("{")
    assert main(["status"]) == 1
    assert "cannot be read; say the command of that run again" in capsys.readouterr().err
    begun()
    assert main(["status"]) == 0


def test_a_run_can_be_looked_at_from_elsewhere(tmp_path, capsys):
    begun()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, "-m", "loops", "show", "round-01/add", f"runs={tmp_path / 'runs'}"],
        cwd=elsewhere,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(next(line.split()[1] for line in done.stdout.splitlines() if line.split()[:1] == ["value"])) == 12
