"""Training: the first loss, what is reused, what is learned, and the same weights every time."""

import math
import os
import shutil

import pytest

from stages.artifacts import Completions, Model, Pairs, Report
from stages.evaluate.interval import wilson
from stages.evaluate.probe import Probe
from stages.pairs.logprobs import LogProbs
from stages.train.dpo import DPO
from stages.train.fitting import in_order
from stages.train.objectives import Sigmoid
from stages.train.pair_rows import give_logprobs, is_known, trainable
from stages.train.training import Execution
from tests.stages.rows import pair, scored

PAIRS = [pair(f"p{i}", f"Question {i}?", f"Yes, {i} is fine.", f"No number {i} here.") for i in range(16)]


def train(artifact, pairs, policy, reference, **fields):
    out = artifact(Model)
    fields = {"loss": Sigmoid(beta=0.1), "learning_rate": 1e-3, "max_steps": 6, "batch": 8} | fields
    return out, DPO(**fields)(pairs=pairs, policy=policy, reference=reference, out=out)


def test_against_its_own_reference_the_first_loss_is_ln_2_and_it_falls(artifact, tiny_model):
    out, metrics = train(artifact, artifact(Pairs, PAIRS), tiny_model, tiny_model)
    assert metrics["first_loss"] == pytest.approx(math.log(2), abs=1e-4)
    assert metrics["last_loss"] < 0.6
    assert metrics["last_accuracy"] == 1
    assert out.trained_against == tiny_model.identity
    curve = (out.path / "curve.jsonl").read_text().splitlines()
    assert len(curve) == 6


def test_what_it_learned_holds_for_the_saved_model(artifact, tiny_model):
    out, _ = train(artifact, artifact(Pairs, PAIRS), tiny_model, tiny_model)
    known = artifact(Pairs)
    LogProbs()(pairs=artifact(Pairs, PAIRS), model=tiny_model, out=known)
    answers = artifact(
        Completions, [{k: v for k, v in scored("a", 0, "An answer.", 1.0).items() if k in Completions.COLUMNS}]
    )
    report = Probe()(policy=out, held_out=known, answers=answers, out=artifact(Report))
    assert report["accuracy"] == 1
    assert report["accuracy_se"] == 0
    assert (report["accuracy_low"], report["accuracy_high"]) == wilson(1.0, len(PAIRS))
    assert report["likelihood_accuracy_low"] < report["likelihood_accuracy"] <= report["likelihood_accuracy_high"]
    assert report["answer_characters"] == len("An answer.")


def test_the_same_training_gives_the_same_bytes(artifact, tiny_model):
    first, _ = train(artifact, artifact(Pairs, PAIRS), tiny_model, tiny_model)
    again, _ = train(artifact, artifact(Pairs, PAIRS), tiny_model, tiny_model)
    for name in ("model.safetensors", "curve.jsonl", "config.json"):
        assert (first.path / name).read_bytes() == (again.path / name).read_bytes()


def settings(steps, seed):
    return DPO(loss=Sigmoid(beta=0.1), learning_rate=1e-3, max_steps=steps, batch=8, seed=seed)


def memory(micro_batch):
    return Execution(micro_batch=micro_batch)


def weights(model):
    from safetensors.torch import load_file

    return load_file(model.path / "model.safetensors")


def test_how_many_pairs_are_in_memory_at_once_is_not_what_is_computed(artifact, tiny_model):
    """Thirteen pairs do not fill their batches: an epoch ends in the middle of one."""
    start = weights(tiny_model)
    whole, parts = (
        weights(train(artifact, artifact(Pairs, PAIRS[:13]), tiny_model, tiny_model, execution=memory(size))[0])
        for size in (8, 2)
    )
    moved = max((whole[name] - start[name]).abs().max().item() for name in start)
    apart = max((whole[name] - parts[name]).abs().max().item() for name in start)
    assert apart < moved / 100


def test_every_pair_is_seen_once_before_any_is_seen_twice():
    rows = [{"row": i, "prompt_tokens": [1]} for i in range(13)]
    order = [row["row"] for row in in_order(rows, settings(4, seed=1))]
    assert sorted(order[:13]) == sorted(order[13:26]) == list(range(13))
    assert order[:13] != order[13:26]
    assert len(order) == 32
    assert order != [row["row"] for row in in_order(rows, settings(4, seed=2))]


def test_the_rows_of_a_batch_are_sorted_by_length_and_no_row_changes_its_batch():
    rows = [{"row": i, "prompt_tokens": [1] * (i * 7 % 13)} for i in range(16)]
    batches = [in_order(rows, settings(2, seed=3))[first : first + 8] for first in (0, 8)]
    for batch in batches:
        assert [len(row["prompt_tokens"]) for row in batch] == sorted(len(row["prompt_tokens"]) for row in batch)
    plain = [{**row, "prompt_tokens": [1]} for row in rows]
    for first, batch in zip((0, 8), batches, strict=True):
        together = in_order(plain, settings(2, seed=3))[first : first + 8]
        assert {row["row"] for row in batch} == {row["row"] for row in together}


def test_training_does_not_change_how_a_turn_ends(artifact, tiny_model, tmp_path):
    import json
    import shutil

    from stages.engines.models import end_of_turn

    shutil.copytree(tiny_model.path, tmp_path / "policy")
    settings = json.loads((tmp_path / "policy/generation_config.json").read_text())
    (tmp_path / "policy/generation_config.json").write_text(json.dumps(settings | {"eos_token_id": [7, 9]}))
    policy = Model(tmp_path / "policy")
    out, _ = train(artifact, artifact(Pairs, PAIRS), policy, policy, max_steps=1)
    assert end_of_turn(out) == [7, 9]


def test_two_precisions_in_one_log_ratio_are_refused(artifact, tiny_model, other_model):
    import json

    config = json.loads((other_model.path / "config.json").read_text())
    (other_model.path / "config.json").write_text(json.dumps(config | {"dtype": "bfloat16"}))
    with pytest.raises(ValueError, match=r"rounding noise. Give every source"):
        train(artifact, artifact(Pairs, PAIRS), tiny_model, other_model)


def test_a_micro_batch_that_does_not_divide_the_batch_is_refused():
    with pytest.raises(ValueError, match=r"must divide"):
        DPO(loss=Sigmoid(beta=0.1), learning_rate=1e-6, max_steps=6, batch=8, execution=memory(3))


def nothing(scratch):
    """It was interrupted between two checkpoints."""


def torn(scratch):
    """It was interrupted while it wrote the next checkpoint."""
    (scratch / "checkpoint-6").mkdir()
    shutil.copy(scratch / "checkpoint-4" / "trainer_state.json", scratch / "checkpoint-6")


def emptied(scratch):
    """The disk lost what it had not written down yet."""
    os.truncate(scratch / "checkpoint-4" / "optimizer.pt", 0)


@pytest.mark.parametrize(("harm", "goes_on"), [(nothing, 5), (torn, 5), (emptied, 1)])
def test_a_training_that_was_interrupted_goes_on_from_its_last_whole_checkpoint_to_the_same_bytes(
    artifact, tiny_model, monkeypatch, harm, goes_on
):
    from stages.train import curve

    whole, _ = train(artifact, artifact(Pairs, PAIRS), tiny_model, tiny_model, max_steps=7)
    out, steps, check = artifact(Model), [], curve.check
    stage = DPO(
        loss=Sigmoid(beta=0.1), learning_rate=1e-3, max_steps=7, batch=8, execution=Execution(checkpoint_every=2)
    )

    def interrupted(step, logs, from_reference):
        steps.append(step)
        if steps == [1, 2, 3, 4, 5]:
            raise KeyboardInterrupt
        check(step, logs, from_reference)

    monkeypatch.setattr(curve, "check", interrupted)
    inputs = {"pairs": artifact(Pairs, PAIRS), "policy": tiny_model, "reference": tiny_model, "out": out}
    with pytest.raises(KeyboardInterrupt):
        stage(**inputs)
    harm(out.scratch)
    metrics = stage(**inputs)
    assert steps == [1, 2, 3, 4, 5, *range(goes_on, 8)]
    assert metrics["first_loss"] == pytest.approx(math.log(2), abs=1e-4)
    for name in ("model.safetensors", "curve.jsonl"):
        assert (out.path / name).read_bytes() == (whole.path / name).read_bytes()


def test_log_probs_that_the_reference_gave_are_not_computed_again(artifact, tiny_model, other_model):
    known = artifact(Pairs)
    LogProbs()(pairs=artifact(Pairs, PAIRS), model=tiny_model, out=known)
    for model, expected in ((tiny_model, 16), (other_model, 0)):
        rows, counts = trainable(known, tiny_model, 4096)
        assert counts["pairs"] == 16
        assert sum(is_known(row, model) for row in rows) == expected
    _, told = train(artifact, known, tiny_model, tiny_model)
    assert told["known_logps"] == 16


def test_only_pairs_that_are_trained_on_are_passed_through_the_reference_and_each_once(
    artifact, tiny_model, monkeypatch
):
    from stages.engines import pair_logprobs

    passed = []
    whole = pair_logprobs.pair_logprobs
    monkeypatch.setattr(
        pair_logprobs, "pair_logprobs", lambda rows, *others: passed.append(len(rows)) or whole(rows, *others)
    )
    train(artifact, artifact(Pairs, PAIRS), tiny_model, tiny_model, max_steps=1)
    train(artifact, artifact(Pairs, PAIRS), tiny_model, tiny_model, max_steps=6)
    assert passed == [8, 16]


def test_where_bfloat16_is_multiplied_training_multiplies_it(artifact, tiny_model, monkeypatch):
    """accelerate casts in the model's own forward only, and it is the model's body that is called."""
    import torch

    from stages.engines import logprobs, models

    met = set()
    whole = logprobs.token_logprobs
    monkeypatch.setattr(models, "multiplies_bfloat16", lambda device: True)
    monkeypatch.setattr(
        "stages.train.pair_objective.token_logprobs",
        lambda model, states: met.add(model.get_output_embeddings()(states.hidden).dtype) or whole(model, states),
    )
    _, told = train(artifact, artifact(Pairs, PAIRS), tiny_model, tiny_model, max_steps=1, dtype="bfloat16")
    assert met == {torch.bfloat16}
    assert told["first_loss"] == pytest.approx(math.log(2), abs=0.05)


def test_a_rows_log_probs_do_not_depend_on_which_others_are_passed(artifact, tiny_model):
    rows, _ = trainable(artifact(Pairs, PAIRS), tiny_model, 4096)
    few, stage = [dict(row) for row in rows[:3]], DPO(loss=Sigmoid(beta=0.1), learning_rate=1e-3, max_steps=1, batch=8)
    give_logprobs(rows, tiny_model, tiny_model, "reference", stage)
    give_logprobs([*few, few[0]], tiny_model, tiny_model, "reference", stage)
    for row, alone in zip(rows, few, strict=False):
        assert alone["reference_chosen_logps"] == pytest.approx(row["reference_chosen_logps"], abs=1e-4)


def test_log_probs_of_the_wrong_weights_are_noticed_by_the_first_loss(artifact, tiny_model):
    known = artifact(Pairs)
    LogProbs()(pairs=artifact(Pairs, PAIRS), model=tiny_model, out=known)
    wrong = artifact(Pairs, [{**row, "rejected_logp": row["rejected_logp"] + 9} for row in known.rows()])
    with pytest.raises(ValueError, match=r"not ln 2"):
        train(artifact, wrong, tiny_model, tiny_model)


def test_another_reference_begins_elsewhere_and_is_not_held_to_ln_2(artifact, tiny_model, other_model):
    _, metrics = train(artifact, artifact(Pairs, PAIRS), tiny_model, other_model)
    assert metrics["first_loss"] != pytest.approx(math.log(2), abs=1e-4)


def test_a_pair_that_is_too_long_or_cannot_be_rendered_is_dropped_and_counted(artifact, tiny_model):
    rows = [*PAIRS, pair("long", "Why?", "word " * 400, "no"), pair("bad", "Why?", "a<|im_end|>b", "no")]
    _, metrics = train(artifact, artifact(Pairs, rows), tiny_model, tiny_model, max_tokens=200, max_steps=1)
    assert metrics["pairs"] == 16
    assert metrics["dropped_overlong"] == 1
    assert metrics["dropped_unrenderable"] == 1


def test_no_pair_at_all_stops_the_step(artifact, tiny_model):
    with pytest.raises(ValueError, match=r"no pair is left"):
        train(artifact, artifact(Pairs, PAIRS), tiny_model, tiny_model, max_tokens=3)


def test_a_training_that_explodes_stops_and_says_so(artifact, tiny_model):
    with pytest.raises(ValueError, match=r"loss is nan at step 2"):
        train(artifact, artifact(Pairs, PAIRS), tiny_model, tiny_model, learning_rate=1e30, max_grad_norm=1e30)


@pytest.mark.parametrize(
    "fields",
    [
        {"learning_rate": 0},
        {"max_steps": 0},
        {"max_steps": None},
        {"epochs": 1},
        {"batch": 0},
        {"warmup": 1.0, "schedule": "cosine"},
        {"warmup": 0.2, "schedule": "constant"},
        {"sft_weight": -1},
    ],
)
def test_impossible_values_and_ignored_options_are_refused(fields):
    with pytest.raises(ValueError, match=r"must be|ignores|is a share|either"):
        DPO(**{"loss": Sigmoid(beta=0.1), "learning_rate": 1e-6, "max_steps": 6, "batch": 8} | fields)


def test_a_probe_without_a_base_or_with_its_own_log_probs_is_refused(artifact, tiny_model):
    answers = artifact(Completions, [])
    with pytest.raises(ValueError, match=r"pass them through LogProbs"):
        Probe()(policy=tiny_model, held_out=artifact(Pairs, PAIRS), answers=answers, out=artifact(Report))
    known = artifact(Pairs)
    LogProbs()(pairs=artifact(Pairs, PAIRS), model=tiny_model, out=known)
    with pytest.raises(ValueError, match=r"nothing to compare"):
        Probe()(policy=tiny_model, held_out=known, answers=answers, out=artifact(Report))
