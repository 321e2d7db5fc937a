"""Every other recipe, and the crossings, for two real rounds on the tiny model; a judge must be taught first."""

import json
import subprocess

import pytest

from tests.recipes.tiny import RECIPES, command, environment, words


def run(recipe, place, model, *more):
    chosen = command(recipe, model, *words(recipe, place), *more)
    return subprocess.run(chosen, cwd=place, env=environment(), capture_output=True, text=True, timeout=600)


def manifests(place, recipe):
    links = (place / "runs" / recipe).glob("*/*/manifest.json")
    return {f"{link.parts[-3]}/{link.parts[-2]}": json.loads(link.read_text()) for link in links}


@pytest.mark.parametrize("recipe", [recipe for recipe in RECIPES if recipe != "dice"])
def test_two_rounds_run_and_the_same_again_runs_nothing(recipe, tiny_model_path, tmp_path):
    done = run(recipe, tmp_path, tiny_model_path)
    assert done.returncode == 0, done.stdout + done.stderr
    made = manifests(tmp_path, recipe)
    for number in (1, 2):
        training = made[f"round-0{number}/train"]
        assert training["metrics"]["pairs"] > 0
        if recipe == "verified":
            assert training["metrics"]["first_loss"] > 0.693147, "there is an SFT term too"
        elif recipe != "scir_online":
            assert training["metrics"]["first_loss"] == pytest.approx(0.693147, abs=1e-3)
        assert made[f"round-0{number}/mine"]["metrics"]["pairs"] > 0
        if recipe == "verified":
            assert 0 < made[f"round-0{number}/versus_start"]["metrics"]["win_rate_high"] <= 1
            assert "beats start" in done.stdout
    again = run(recipe, tmp_path, tiny_model_path)
    assert again.returncode == 0, again.stderr
    assert f"{recipe}: 0 steps run" in again.stdout


def test_a_round_that_has_no_value_of_its_own_is_refused_while_planning(tiny_model_path, tmp_path):
    done = run("selfie", tmp_path, tiny_model_path, "rounds=4")
    assert done.returncode == 1
    assert "by_round names values for 3 rounds, none for round 4" in done.stderr
