"""What planning knows of the cost: what stages foresee, what earlier steps of their kind took, and what cannot fit."""

from math import isnan, nan
from pathlib import Path

import pytest

from loops.__main__ import main
from loops.errors import RecipeError
from loops.estimate import Measured, Rates, estimates, measured
from loops.executors import Inline
from loops.forecast import Forecast, forecast
from loops.patience import Patience
from loops.plan import unroll
from loops.recipe import load
from loops.runner import Runner
from loops.store import Store
from tests.loops.recipes import TOYS, toy


def heavy(value, least=0.0, spread=None, **more):
    """A recipe whose round takes memory and work in proportion to ``value``, and tells how much of both."""
    stage = {"_target_": f"{TOYS}.Heavy", "rows": value, "least": least, **(spread or {})}
    return toy(setup={"big": {"stage": stage}}, **more)


def planned(config, root, **limits):
    plan, store = unroll(load(config)), Store(root / "store")
    return Forecast(plan=plan, store=store, here=True, **limits)


def run(config, root):
    ahead = planned(config, root)
    Runner(ahead.store, Inline(), [], root / "run", foreseen=ahead.foreseen).run(ahead.plan)


def of(ahead, id):
    return ahead.expected[next(step.key for step in ahead.plan.steps if step.id == id)]


def test_a_step_whose_kind_nobody_has_measured_has_no_time_rather_than_none_to_take(tmp_path):
    ahead = planned(heavy(100.0), tmp_path)
    big = of(ahead, "setup/big")
    assert (big.memory, big.tokens, big.rows) == (1000.0, 200.0, 100.0)
    assert isnan(big.seconds)
    assert isnan(of(ahead, "round-01/add").memory)
    assert " ? " in next(iter(ahead.cells().values()))


def test_a_step_takes_as_long_as_one_of_its_kind_did_in_proportion_to_its_work(tmp_path):
    run(heavy(100.0), tmp_path)
    (made,) = [made for made in planned(heavy(100.0), tmp_path).made.values() if "Heavy" in made.stage["type"]]
    assert of(planned(heavy(300.0), tmp_path), "setup/big").seconds == pytest.approx(3 * made.seconds)


def test_of_steps_that_foresee_nothing_the_mean_time_is_expected(tmp_path):
    run(toy(), tmp_path)
    made = [made for made in planned(toy(), tmp_path).made.values() if made.stage["type"].endswith("Add")]
    expected = sum(each.seconds for each in made) / len(made)
    assert of(planned(toy(rounds=3), tmp_path), "round-03/add").seconds == pytest.approx(expected)


def test_the_measurement_nearest_in_work_is_taken():
    rates = Rates(
        by_kind={"sample": [Measured(work=w, rows=w, seconds=s, bytes=8 * w) for w, s in ((10, 9), (1000, 50))]}
    )
    assert rates.seconds("sample", 20) == pytest.approx(18)
    assert rates.seconds("sample", 800) == pytest.approx(40)
    assert rates.bytes("sample", 3) == pytest.approx(24)
    assert isnan(rates.seconds("sample", nan))
    assert isnan(rates.seconds("judge", 20))


def test_what_was_measured_on_another_machine_or_engine_says_nothing(tmp_path, monkeypatch):
    run(heavy(100.0), tmp_path)
    monkeypatch.setattr("loops.machine.name", lambda: "another machine")
    assert isnan(of(planned(heavy(100.0), tmp_path), "setup/big").seconds)


def test_a_manifest_keeps_what_was_foreseen_beside_what_was_taken(tmp_path):
    run(heavy(100.0), tmp_path)
    run(heavy(200.0), tmp_path)
    ahead = planned(heavy(200.0), tmp_path)
    made = ahead.made[next(step.key for step in ahead.plan.steps if step.id == "setup/big")]
    assert made.provenance["foreseen"]["work"] == 200.0
    assert made.provenance["foreseen"]["seconds"] >= 0
    (line,) = ahead.behind()
    assert "were foreseen, in 1 of 5 steps" in line


def test_a_step_that_cannot_fit_is_refused_with_what_it_needs_and_the_way_out(tmp_path):
    with pytest.raises(RecipeError) as refused:
        planned(heavy(2e9, least=2e10), tmp_path, memory=1e10, where="of this machine's memory").check(Patience())
    assert str(refused.value).startswith("setup/big: Heavy would need about 20 GB of 10 GB of this machine's memory.")
    assert "device_memory=GB" in str(refused.value)


def test_an_estimate_alone_refuses_nothing_nor_does_what_is_there_already(tmp_path):
    planned(heavy(2e9, least=1.0), tmp_path, memory=1e10).check(Patience())
    run(heavy(100.0, least=2e10), tmp_path)
    planned(heavy(100.0, least=2e10), tmp_path, memory=1e10).check(Patience())


def test_what_is_spread_over_devices_needs_each_of_them_and_a_machine_without_gpus_has_one_memory(tmp_path):
    eight = heavy(1.0, least=2e10, spread={"devices": 8})
    planned(eight, tmp_path, memory=3e10, gpus=8).check(Patience())
    planned(eight, tmp_path, memory=3e10, gpus=None).check(Patience())
    assert any("8×20 GB" in cells for cells in planned(eight, tmp_path).cells().values())
    with pytest.raises(RecipeError, match="setup/big: Heavy is spread over 8 GPUs of one machine, and this one has 4"):
        planned(eight, tmp_path, memory=3e10, gpus=4).check(Patience())
    with pytest.raises(RecipeError, match="would need about 160 GB of 30 GB"):
        planned(eight, tmp_path, memory=3e10, gpus=0).check(Patience())
    planned(heavy(1.0, least=2e9, spread={"devices": 8}), tmp_path, memory=3e10, gpus=0).check(Patience())
    only = heavy(1.0, least=2e9, spread={"devices": 8, "only_gpus": True})
    with pytest.raises(RecipeError, match="and this one has 0"):
        planned(only, tmp_path, memory=3e10, gpus=0).check(Patience())


@pytest.mark.parametrize(
    ("named", "cards"), [(None, "AAB"), ("2,0", "BA"), ("1", "A"), ("GPU-1f,GPU-2e", "AA"), ("", ""), ("-1", "")]
)
def test_only_gpus_that_this_process_may_use_are_counted(named, cards, tmp_path, monkeypatch):
    from loops import machine

    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\nprintf 'A, 1024\\nA, 1024\\nB, 2048\\n'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    if named is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
    assert "".join(card for card, _ in machine.gpus.__wrapped__()) == cards


def test_models_that_have_no_room_are_refused(tmp_path):
    with pytest.raises(RecipeError, match="would leave at least 800 B of models, and 700 B are free"):
        planned(heavy(100.0), tmp_path, free=700.0).check(Patience())
    planned(heavy(100.0), tmp_path, free=900.0).check(Patience())


def test_rounds_that_patience_may_never_begin_need_no_room(tmp_path):
    turn = {"stage": {"_target_": f"{TOYS}.Heavy", "rows": "${number}", "least": 0}}
    ahead = planned(toy(rounds=9, round={"model": turn}), tmp_path, free=100.0)
    with pytest.raises(RecipeError, match="are free"):
        ahead.check(Patience())
    ahead.check(Patience(metric="add/value", rounds=2))
    ahead.check(Patience(hours=1.0))


def test_where_steps_run_elsewhere_nothing_is_known_of_their_memory(tmp_path):
    plan, store = unroll(load(heavy(1.0))), Store(tmp_path / "store")
    assert forecast(plan, store, here=False, device_memory=None).memory is None
    assert forecast(plan, store, here=True, device_memory=None).memory > 1e8
    assert forecast(plan, store, here=False, device_memory=80).memory == 80e9


def test_a_key_does_not_know_of_any_cost(tmp_path):
    run(heavy(100.0), tmp_path)
    before = planned(heavy(100.0), tmp_path)
    assert [step.key for step in before.plan.steps] == [step.key for step in unroll(load(heavy(100.0))).steps]
    assert estimates(before.plan, measured(before.made, before.store, here=True), here=True).keys() == {
        step.key for step in before.plan.steps
    }


RECIPE = """# @package _global_
# One.
name: one
rounds: 0
carry: {}
round: {}
setup:
  big: {stage: {_target_: tests.loops.toys.Heavy, rows: 10, least: 5.0e+9}}
"""


def test_the_command_line_shows_the_plan_and_refuses_it_by_the_devices_memory(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("recipes").mkdir()
    Path("recipes/one.yaml").write_text(RECIPE)
    words = ["recipes=one", "tracker=silent", "executor=inline"]
    assert main(["plan", *words, "device_memory=4"]) == 1
    told = capsys.readouterr()
    assert "setup/big" in told.out
    assert told.err.startswith("RecipeError: setup/big: Heavy would need about 5 GB of 4 GB (device_memory).")
    assert main([*words, "device_memory=4"]) == 1
    assert not Path("store").exists()
    assert main(["plan", *words, "device_memory=none"]) == 1
    capsys.readouterr()
    assert main([*words, "device_memory=6"]) == 0
    assert main(["plan", *words, "device_memory=6"]) == 0
    assert "have" in capsys.readouterr().out
