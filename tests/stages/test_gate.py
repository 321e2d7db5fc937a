"""Which model goes on: the rules at their borders, and that a model that is handed on is the same model."""

import json

import pytest

from stages.artifacts import HANDED_ON, Model, Report
from stages.evaluate.gate import Gate
from stages.evaluate.judged_gate import JudgedGate
from stages.evaluate.keep import Keep


@pytest.fixture
def verdict(artifact):
    def report(contents):
        made = artifact(Report)
        made.write(contents)
        return made

    def decide(gate=None, *, accuracy=0.7, se=0.05, before=None, length=1.0, distinct=1.0, judge=None):
        inputs = {
            "candidate": report({"accuracy": accuracy, "accuracy_se": se}),
            "incumbent": report(before or {"accuracy": 0.7, "accuracy_se": 0.05}),
            "monitor": report({"length_ratio": length, "distinct_ratio": distinct}),
        }
        inputs |= {"judge": report(judge)} if judge else {}
        out = artifact(Report)
        told = (gate or Gate())(**inputs, out=out)
        assert {name: value for name, value in out.read().items() if name != "why"} == told
        return out

    return decide


def broken(report):
    return [name.removeprefix("failed_") for name, value in report.read().items() if name[:7] == "failed_" and value]


def test_a_candidate_that_breaks_no_rule_goes_on_without_being_better(verdict):
    decided = verdict().read()
    assert decided["kept_incumbent"] == 0
    assert decided["why"] == "hands on the candidate"


@pytest.mark.parametrize(
    ("within", "beyond", "rule"),
    [
        ({"accuracy": 0.603}, {"accuracy": 0.601}, "accuracy"),
        ({"length": 1.5}, {"length": 1.51}, "length"),
        ({"length": 0.67}, {"length": 0.66}, "length"),
        ({"distinct": 0.7}, {"distinct": 0.69}, "distinct"),
    ],
)
def test_each_rule_holds_to_its_border_and_not_beyond(verdict, within, beyond, rule):
    assert broken(verdict(**within)) == []
    refused = verdict(**beyond)
    assert broken(refused) == [rule]
    assert refused.read()["kept_incumbent"] == 1
    assert refused.read()["why"].startswith("keeps the incumbent: ")


def test_every_broken_rule_is_named(verdict):
    refused = verdict(accuracy=0.1, length=3.0, distinct=0.1)
    assert broken(refused) == ["accuracy", "length", "distinct"]
    for words in ("held-out accuracy 0.100 is under 0.602", "3.00 times as long", "distinct-n is 0.10"):
        assert words in refused.read()["why"]


def test_what_the_start_gives_no_measure_for_is_no_reason_to_refuse(verdict):
    assert broken(verdict(length=None, distinct=None)) == []


def test_a_candidate_that_solves_nothing_is_as_unsure_as_one_that_solved_a_single_task(verdict):
    once = {"accuracy": 1 / 24, "accuracy_se": 0.041}
    assert broken(verdict(accuracy=0.0, se=0.0, before=once)) == []


def test_falls_within_the_noise_do_not_add_up(verdict):
    """Each is within two standard errors of the one before, and the third is not of the best."""
    first = verdict(accuracy=0.64).read()
    assert (first["kept_incumbent"], first["accuracy"], first["best_accuracy"]) == (0, 0.64, 0.7)
    assert broken(verdict(accuracy=0.58, before=first)) == ["accuracy"]


def test_the_verdict_tells_of_the_model_that_goes_on(verdict):
    kept = verdict(accuracy=0.1, se=0.02).read()
    assert (kept["accuracy"], kept["accuracy_se"], kept["best_accuracy"]) == (0.7, 0.05, 0.7)
    better = verdict(accuracy=0.9, se=0.02, before=kept).read()
    assert (better["accuracy"], better["accuracy_se"], better["best_accuracy"]) == (0.9, 0.02, 0.9)


@pytest.mark.parametrize(
    ("judge", "rules"),
    [
        ({"saturation": 0.6, "unscored": 0.8}, []),
        ({"saturation": 0.61, "unscored": 0.0}, ["saturation"]),
        ({"saturation": 0.2, "unscored": 0.81}, ["unscored"]),
        ({"saturation": None, "unscored": 1.0}, ["saturation", "unscored"]),
    ],
)
def test_a_candidate_that_can_no_longer_judge_is_refused(verdict, judge, rules):
    assert broken(verdict(JudgedGate(), judge=judge)) == rules


def test_a_judged_gate_keeps_the_other_rules_too(verdict):
    assert broken(verdict(JudgedGate(), length=2.0, judge={"saturation": 0.1, "unscored": 0.0})) == ["length"]


@pytest.mark.parametrize("wrong", [{"deviations": -1}, {"length": 1}, {"distinct": 1.1}])
def test_rules_that_could_not_hold_are_refused_while_planning(wrong):
    with pytest.raises(ValueError, match="deviations must be"):
        Gate(**wrong)


def keep(artifact, kept_incumbent, candidate, incumbent):
    verdict, out = artifact(Report), artifact(Model)
    verdict.write({"kept_incumbent": kept_incumbent})
    Keep()(verdict=verdict, candidate=candidate, incumbent=incumbent, out=out)
    return out


@pytest.mark.parametrize(("kept_incumbent", "which"), [(0.0, 0), (1.0, 1)])
def test_the_model_that_goes_on_is_the_verdicts_and_keeps_its_identity(
    artifact, tiny_model, other_model, kept_incumbent, which
):
    other_model.record_lineage(trained_from="before", trained_against="reference")
    models = (other_model, tiny_model)
    kept = keep(artifact, kept_incumbent, *models)
    assert kept.identity == models[which].identity != kept.path.name
    assert kept.trained_against == models[which].trained_against
    again = keep(artifact, 1.0, other_model, kept)
    assert again.identity == models[which].identity


def test_weights_are_shared_and_what_belongs_to_the_step_is_not(artifact, other_model):
    for name in ("manifest.json", "curve.jsonl"):
        (other_model.path / name).write_text("{}")
    (other_model.plots / "loss.png").write_text("")
    kept = keep(artifact, 0.0, other_model, other_model)
    weights = "model.safetensors"
    assert (kept.path / weights).stat().st_ino == (other_model.path / weights).stat().st_ino
    files = {file.name for file in other_model.path.iterdir()} - {"manifest.json", "curve.jsonl", "plots"}
    assert {file.name for file in kept.path.iterdir()} == files | {HANDED_ON}


def test_a_handed_on_model_loads_and_is_the_same(artifact, other_model):
    import torch
    from transformers import AutoModelForCausalLM

    kept = keep(artifact, 0.0, other_model, other_model)
    ours, theirs = (AutoModelForCausalLM.from_pretrained(model.path).state_dict() for model in (kept, other_model))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert json.loads((kept.path / HANDED_ON).read_text()) == {"identity": other_model.identity}


def test_where_there_are_no_hard_links_a_model_is_copied(artifact, other_model, monkeypatch):
    import os

    def refuse(*_, **__):
        raise OSError("Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    kept = keep(artifact, 0.0, other_model, other_model)
    ours, theirs = kept.path / "model.safetensors", other_model.path / "model.safetensors"
    assert ours.read_bytes() == theirs.read_bytes()
    assert ours.stat().st_ino != theirs.stat().st_ino
