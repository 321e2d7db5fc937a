"""The gate around the shipped recipes: every one can be gated, and real loops on the tiny model keep the good model."""

import json
import os

import pytest

from loops.compose import compose
from loops.gated import gated
from loops.plan import unroll
from loops.recipe import load
from loops.resolved import section
from tests.recipes.test_plans import RECIPES
from tests.recipes.tiny import run_here, schooling

POISONED = """
# @package _global_
# DICE whose pairs are turned round, with far too high a learning rate, in the rounds that are named.
defaults: [dice]
name: poisoned
round:
  turn:
    stage: {_target_: tests.recipes.poison.Turned, really: "${poisoned}"}
    inputs: {pairs: mix}
  train:
    stage: {learning_rate: "${rate}"}
    inputs: {pairs: turn}
"""


def keys(recipe, *more):
    cfg = compose([f"recipes={recipe}", *more])
    return {step.id: step.key for step in unroll(gated(load(cfg), section(cfg, "gate"))).steps}


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_can_be_gated_and_its_first_round_stays_what_it_was(recipe):
    plain, watched, kept = (keys(recipe, f"gate={gate}") for gate in ("none", "watch", "champion"))
    carried = {"keep_policy"} | ({"keep_reference"} if recipe in ("dice", "scir", "scir_online") else set())
    assert {step.partition("/")[2] for step in watched.keys() - plain.keys()} == {"monitor"}
    assert {step.partition("/")[2] for step in kept.keys() - watched.keys()} == {"gate", *carried}
    assert all(watched[step] == key for step, key in plain.items())
    assert all(kept[step] == key for step, key in watched.items() if step.startswith(("setup/", "round-01/")))
    assert kept["round-02/train"] != plain["round-02/train"]


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with the recipe ``poisoned``, where the command line is called."""
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes/poisoned.yaml").write_text(POISONED.lstrip())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def manifest(place, recipe, step):
    return json.loads((place / "runs" / recipe / step / "manifest.json").read_text())


def identity(place, recipe, step):
    from stages.artifacts import Model

    return Model((place / "runs" / recipe / step).resolve()).identity


def test_a_poisoned_round_is_rolled_back_and_the_next_goes_on_from_the_good_model(here, tiny_model_path, capsys):
    poison = ["+poisoned=${by_round:false,true,false}", "+rate=${by_round:1e-4,5e-2,1e-4}"]
    assert run_here("poisoned", tiny_model_path, "rounds=3", "gate=champion", *poison) == 0
    verdicts = [manifest(here, "poisoned", f"round-0{n}/gate")["metrics"] for n in (1, 2, 3)]
    assert [verdict["kept_incumbent"] for verdict in verdicts] == [0, 1, 0]
    trained, held = (identity(here, "poisoned", f"round-01/{node}") for node in ("train", "keep_policy"))
    first = identity(here, "poisoned", "setup/dpo")
    assert held == trained == identity(here, "poisoned", "round-02/keep_policy")
    assert identity(here, "poisoned", "round-02/keep_reference") == first, "what the good model was trained against"
    scored = manifest(here, "poisoned", "round-03/score")
    keys = {
        node: os.path.basename(os.readlink(here / f"runs/poisoned/round-02/{node}"))
        for node in ("keep_policy", "keep_reference")
    }
    assert (scored["inputs"]["policy"], scored["inputs"]["reference"]) == (keys["keep_policy"], keys["keep_reference"])
    training = manifest(here, "poisoned", "round-03/train")["metrics"]
    assert training["first_loss"] == pytest.approx(0.693147, abs=1e-4)
    assert training["known_logps"] == manifest(here, "poisoned", "round-03/mix")["metrics"]["mined"] > 0
    assert identity(here, "poisoned", "final/policy") == identity(here, "poisoned", "round-03/train")
    assert "rolled back" in capsys.readouterr().out


def test_a_loop_that_is_poisoned_for_good_ends_early_with_the_good_model(here, tiny_model_path, capsys):
    poison = ["+poisoned=true", "+rate=5e-2"]
    assert run_here("poisoned", tiny_model_path, "rounds=5", "gate=champion", *poison) == 0
    told = capsys.readouterr().out
    assert "stopped after round 2: gate/kept_incumbent was 1 in the last 2 rounds" in told
    assert not (here / "runs/poisoned/round-03").exists()
    assert identity(here, "poisoned", "final/policy") == identity(here, "poisoned", "setup/dpo")
    assert str((here / "runs/poisoned/final/policy").readlink().name) in told


def test_a_judge_that_collapses_never_comes_to_judge(here, tiny_model_path):
    """Round 1's training ruins the policy, which would have been the judge of round 2."""
    rates = ["round.train.stage.learning_rate=${by_round:1e-1,1e-6}"]
    words = [*schooling(here), *rates, "rounds=2", "gate=judged"]
    assert run_here("self_rewarding", tiny_model_path, *words) == 0
    ruined, sound = (manifest(here, "self_rewarding", f"round-0{n}/gate")["metrics"] for n in (1, 2))
    assert ruined["kept_incumbent"] == 1
    assert ruined["failed_saturation"] + ruined["failed_unscored"] > 0
    judge = manifest(here, "self_rewarding", "round-02/score")["inputs"]["judge"]
    assert judge == os.path.basename(os.readlink(here / "runs/self_rewarding/round-01/keep_policy"))
    assert identity(here, "self_rewarding", "round-01/keep_policy") == identity(here, "self_rewarding", "setup/teach")
    assert sound["failed_saturation"] + sound["failed_unscored"] == 0
