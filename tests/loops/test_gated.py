"""Gated recipes: a round hands on what it made or what it began with, and a run ends when its patience does."""

import json
import re

import pytest
from omegaconf import OmegaConf

from loops import resolvers
from loops.console import Console
from loops.errors import RecipeError
from loops.executors import Inline
from loops.gated import gated
from loops.patience import Patience
from loops.plan import unroll
from loops.recipe import load
from loops.runner import Runner
from loops.store import Store
from loops.tracker import MLflow, Silent
from tests.loops.recipes import TOYS, gated_toy, toy


@pytest.fixture
def by_round():
    """``${by_round:...}`` in a configuration that the command line has not composed."""
    OmegaConf.register_new_resolver("by_round", resolvers.by_round, replace=True)


def run(recipe, root, rounds_in_vain=None, tracker=None):
    """Totals are 12, 15, 19, 24, ... in the rounds, if each is handed on."""
    console = Console(columns={"total": "{add/value:.0f}"}, closing="total {total}", words={})
    patience = Patience(metric="gate/over", rounds=rounds_in_vain)
    trackers = [console, tracker] if tracker else [console]
    Runner(Store(root / "store"), Inline(), trackers, root / "run", patience).run(unroll(recipe))
    return console


class Heard(Silent):
    """A tracker that remembers the rounds that it was told of."""

    def begin(self, plan):
        self.rounds = set()

    def finished(self, step, manifest, artifact, cached):
        self.rounds.add(step.round)


def value(root, name):
    return json.loads((root / "run" / name / "number.json").read_text())


def ran(root):
    return sorted(path.name for path in (root / "run").glob("round-*"))


def test_a_gated_round_hands_on_what_it_made_or_what_it_began_with(tmp_path):
    run(gated_toy(limit=15, rounds=4), tmp_path)
    totals = [value(tmp_path, f"round-0{number}/keep_total") for number in (1, 2, 3, 4)]
    assert totals == [12, 15, 15, 15]
    assert value(tmp_path, "round-04/add") == 15 + 1 + 4, "round 4 goes on from round 2"
    assert value(tmp_path, "final/total") == 15


def test_only_what_the_recipe_carries_is_gated_and_nothing_else_is_another_step():
    plain, kept = unroll(load(toy())), unroll(gated_toy(limit=100))
    assert {step.node for step in kept.steps} - {step.node for step in plain.steps} == {"gate", "keep_total"}
    keys = [{step.id: step.key for step in plan.steps} for plan in (plain, kept)]
    assert keys[0]["round-01/add"] == keys[1]["round-01/add"]
    assert "keep_total" in kept.source


def test_without_a_gate_a_recipe_is_as_it_was():
    recipe = load(toy())
    assert gated(recipe, {}) is recipe


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"carries": ["others"]}, "gate: toy carries none of others"),
        ({"verdikt": "gate"}, "gate: Gate has no field 'verdikt'; did you mean 'verdict'"),
        ({"verdict": "gait"}, "round-01/keep_total.inputs.verdict: nothing is called 'gait'; did you mean 'gate'?"),
        ({"keep": f"{TOYS}.Kep"}, "round-01/keep_total: tests.loops.toys has no stage 'Kep'; did you mean 'Keep'?"),
    ],
)
def test_a_gate_that_cannot_be_is_refused_while_planning(section, message):
    whole = {"verdict": "gate", "keep": f"{TOYS}.Keep", "carries": ["total"], **section}
    over = {"stage": {"_target_": f"{TOYS}.Over", "limit": 1}, "inputs": {"number": "add"}}
    recipe = load(toy(round={"gate": over}))
    with pytest.raises(RecipeError) as refused:
        unroll(gated(recipe, whole))
    assert str(refused.value).startswith(message)


def test_a_node_that_has_the_gates_name_is_refused():
    node = {"stage": {"_target_": f"{TOYS}.Constant", "value": 1}}
    with pytest.raises(RecipeError, match=r"round\.keep_total: the gate's own node has this name"):
        gated_toy(limit=1, round={"keep_total": node})


def test_a_run_ends_when_its_patience_does_and_hands_on_the_last_good_one(tmp_path, capsys):
    run(gated_toy(limit=15, rounds=9), tmp_path, rounds_in_vain=2)
    assert ran(tmp_path) == ["round-01", "round-02", "round-03", "round-04"]
    assert value(tmp_path, "final/total") == 15
    told = capsys.readouterr().out
    assert "stopped after round 4: gate/over was 1 in the last 2 rounds (patience.rounds=2)" in told
    kept = (tmp_path / "run/round-04/keep_total").resolve()
    assert f"total {kept}" in told
    assert "round-05" not in told


def test_rounds_in_vain_that_are_not_in_a_row_end_nothing(tmp_path, by_round):
    limits = {"gate": {"stage": {"limit": "${by_round:100,1,100,1}"}}}
    run(gated_toy(limit=0, rounds=4, round=limits), tmp_path, rounds_in_vain=2)
    assert ran(tmp_path)[-1] == "round-04"
    assert value(tmp_path, "round-04/gate") == 1


def test_the_same_again_stops_at_the_same_place_and_more_patience_goes_on(tmp_path):
    recipe = gated_toy(limit=15, rounds=6)
    run(recipe, tmp_path, rounds_in_vain=1)
    assert ran(tmp_path)[-1] == "round-03"
    assert run(recipe, tmp_path, rounds_in_vain=1).made == 0
    assert ran(tmp_path)[-1] == "round-03"
    run(recipe, tmp_path, rounds_in_vain=2)
    assert ran(tmp_path)[-1] == "round-04"
    run(recipe, tmp_path, rounds_in_vain=None)
    assert ran(tmp_path)[-1] == "round-06"


def test_less_patience_than_before_ends_with_what_was_good_then(tmp_path, by_round):
    recipe = gated_toy(limit=15, rounds=4, round={"gate": {"stage": {"limit": "${by_round:12,1,100,100}"}}})
    run(recipe, tmp_path)
    assert value(tmp_path, "final/total") == 12 + 1 + 3 + 1 + 4
    heard = Heard()
    assert run(recipe, tmp_path, rounds_in_vain=1, tracker=heard).made == 0
    assert heard.rounds == {0, 1, 2}
    assert value(tmp_path, "final/total") == 12


@pytest.mark.parametrize(
    ("metric", "message"),
    [("gait/over", "no node is called 'gait'; did you mean 'gate'?"), ("gate/ovre", "tells no 'ovre'; did you mean")],
)
def test_a_metric_that_nobody_tells_is_refused_and_never_waited_for(tmp_path, metric, message):
    plan, patience = unroll(gated_toy(limit=1)), Patience(metric=metric, rounds=1)
    runner = Runner(Store(tmp_path / "store"), Inline(), [], tmp_path / "run", patience)
    refuse, given = (patience.check, plan) if metric.startswith("gait") else (runner.run, plan)
    with pytest.raises(RecipeError, match=re.escape(message)):
        refuse(given)


@pytest.mark.parametrize("wrong", [{"rounds": 0, "metric": "gate/over"}, {"rounds": 2}])
def test_patience_without_a_number_or_a_metric_is_refused(wrong):
    with pytest.raises(ValueError, match="patience is"):
        Patience(**wrong)


@pytest.mark.filterwarnings("ignore")
def test_mlflow_says_why_a_loop_ended_and_is_told_the_rest_when_it_goes_on(tmp_path, uri):
    from mlflow import MlflowClient

    def told(patience):
        tracker = MLflow(uri=uri, experiment="test", artifacts=str(tmp_path / "mlflow"), patience=300)
        run(gated_toy(limit=15, rounds=5), tmp_path, rounds_in_vain=patience, tracker=tracker)
        client = MlflowClient(uri)
        found = client.search_runs([client.get_experiment_by_name("test").experiment_id], "tags.kind = 'loop'")
        curve = client.get_metric_history(found[0].info.run_id, "gate/over")
        return len(found), found[0].info.status, found[0].data.tags["stopped"], sorted(point.step for point in curve)

    count, status, why, rounds = told(1)
    assert (count, status, rounds) == (1, "FINISHED", [1, 2, 3])
    assert why.startswith("stopped after round 3: gate/over was 1 in the last round")
    assert told(None) == (1, "FINISHED", "", [1, 2, 3, 4, 5])
