"""Two real rounds on the tiny model, through the command line; then again, longer, changed, and killed."""

import json
import os
import random
from itertools import chain, cycle, islice

import pytest

from tests.recipes.chaos import SIGNALS, Loop, campaign, damage, full_disk, jumping_clock, read_only
from tests.recipes.tiny import artifacts, run, run_here


def made(printed):
    """The steps that a run says it made."""
    lines = [line.split() for line in printed.splitlines() if line.startswith(("setup/", "round-"))]
    return [words[0] for words in lines if len(words) > 2 and words[2] == "s"]


def test_two_rounds_run_and_say_what_they_did(finished):
    place, printed = finished
    assert made(printed)[-1] == "round-02/probe"
    assert "dice: 23 steps, 23 to run" in printed
    assert len(made(printed)) == 23
    for word in ("held-out", "loss", "margin", "the model", "from transformers import pipeline"):
        assert word in printed
    assert (place / "runs/dice/final/policy/model.safetensors").exists()
    assert (place / "runs/dice/round-01/mine/plots/margin_histogram.png").exists()


def test_the_result_loads_with_transformers(finished):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    path = finished[0] / "runs/dice/final/policy"
    assert AutoModelForCausalLM.from_pretrained(path).num_parameters() > 0
    assert AutoTokenizer.from_pretrained(path).chat_template


def test_every_training_against_itself_began_at_ln_2(finished):
    for training in ("setup/dpo", "round-01/train", "round-02/train"):
        first = (finished[0] / "runs/dice" / training / "curve.jsonl").read_text().splitlines()[0]
        assert json.loads(first)["loss"] == pytest.approx(0.693147, abs=1e-4)


def test_the_log_probs_of_mined_pairs_were_not_computed_twice(finished):
    read = lambda step: json.loads((finished[0] / "runs/dice" / step / "manifest.json").read_text())["metrics"]  # noqa: E731
    for number in (1, 2):
        assert read(f"round-0{number}/train")["known_logps"] == read(f"round-0{number}/mix")["mined"] > 0


def test_each_round_is_scored_against_what_its_policy_was_trained_against(finished):
    place = finished[0] / "runs/dice"
    inputs = {n: json.loads((place / f"round-0{n}/score/manifest.json").read_text())["inputs"] for n in (1, 2)}
    keys = {name: os.path.basename(os.readlink(place / name)) for name in ("setup/sft", "setup/dpo", "round-01/train")}
    assert (inputs[1]["policy"], inputs[1]["reference"]) == (keys["setup/dpo"], keys["setup/sft"])
    assert (inputs[2]["policy"], inputs[2]["reference"]) == (keys["round-01/train"], keys["setup/dpo"])


def test_the_same_again_runs_nothing_and_says_so(finished, tiny_model_path):
    done = run(finished[0], tiny_model_path)
    assert done.returncode == 0
    assert "dice: 0 steps run" in done.stdout
    assert made(done.stdout) == []


@pytest.fixture
def there(again, monkeypatch):
    """In a copy of the finished run."""
    monkeypatch.chdir(again)


def test_a_third_round_runs_only_the_third_round(there, tiny_model_path, capsys):
    assert run_here("dice", tiny_model_path, "rounds=3") == 0
    assert {step.split("/")[0] for step in made(capsys.readouterr().out)} == {"round-03"}


def test_another_beta_runs_exactly_what_is_downstream(there, tiny_model_path, capsys):
    assert run_here("dice", tiny_model_path, "rounds=1", "round.train.stage.loss.beta=0.2") == 0
    assert made(capsys.readouterr().out) == ["round-01/train", "round-01/answer", "round-01/probe"]


def test_whatever_strikes_it_step_after_step_the_same_command_ends_with_the_same_bytes(
    finished, tiny_model_path, tmp_path
):
    loop = Loop(recipe="dice", model=tiny_model_path, place=tmp_path, generator=random.Random(0))
    others = [full_disk, read_only, damage, jumping_clock, full_disk, damage]
    faults = chain.from_iterable(zip(cycle(SIGNALS), chain(others, cycle(SIGNALS)), strict=False))
    campaign(loop, islice(faults, 18), artifacts(finished[0] / "store"))
    assert len(loop.met) >= 12, "so many steps are to be met in the middle"
    assert set(loop.struck) >= {"full disk", "read-only store", "damaged file", "jumping clock", "SIGTERM"}
