"""Every other recipe, and the crossings, for two real rounds on the tiny model; a judge must be taught first."""

import json

import pytest

from tests.recipes.tiny import RECIPES, run_here, words


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Where the command line is called."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(recipe, place, model, *more):
    return run_here(recipe, model, *words(recipe, place), *more)


def manifests(place, recipe):
    links = (place / "runs" / recipe).glob("*/*/manifest.json")
    return {f"{link.parts[-3]}/{link.parts[-2]}": json.loads(link.read_text()) for link in links}


@pytest.mark.parametrize("recipe", [recipe for recipe in RECIPES if recipe != "dice"])
def test_two_rounds_run_and_the_same_again_runs_nothing(recipe, tiny_model_path, place, capsys):
    assert run(recipe, place, tiny_model_path) == 0
    told = capsys.readouterr().out
    made = manifests(place, recipe)
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
            assert "beats start" in told
    assert run(recipe, place, tiny_model_path) == 0
    assert f"{recipe}: 0 steps run" in capsys.readouterr().out


def test_a_round_that_has_no_value_of_its_own_is_refused_while_planning(tiny_model_path, place, capsys):
    assert run("selfie", place, tiny_model_path, "rounds=4") == 1
    assert "by_round names values for 3 rounds, none for round 4" in capsys.readouterr().err
