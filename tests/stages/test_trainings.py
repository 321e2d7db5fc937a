"""The other trainings on a real model: smoothing, options, two references, consistency, demonstrations."""

import json
import math

import pytest
import torch

from stages.artifacts import Demonstrations, Model, Pairs
from stages.engines.logprobs import answer_logprobs
from stages.engines.packed import packed
from stages.train.consistency import Consistency
from stages.train.dpo import DPO
from stages.train.inpo import INPO
from stages.train.objectives import SPPO, Identity, Sigmoid, Soft
from stages.train.self_refining import SelfRefining
from stages.train.sft import SFT
from stages.train.training import Execution
from tests.stages.rows import pair
from tests.stages.test_dpo import PAIRS, weights

QUESTION = "<question>{question}</question><first>{first}</first><second>{second}</second> A or B?"
COMMON = {"learning_rate": 1e-3, "max_steps": 5, "batch": 8}
REFINING = SelfRefining(beta=0.1, extrapolation=0.5, window=10)


def fit(artifact, stage, out=None, **inputs):
    out = out or artifact(Model)
    return out, stage(out=out, **inputs)


def curve(model):
    return [json.loads(line) for line in (model.path / "curve.jsonl").read_text().splitlines()]


def test_self_refining_begins_at_ln_2_and_smooths_only_after_its_first_fifth(artifact, tiny_model):
    stage = DPO(loss=REFINING, **COMMON | {"max_steps": 10})
    out, told = fit(artifact, stage, pairs=artifact(Pairs, PAIRS), policy=tiny_model, reference=tiny_model)
    assert told["first_loss"] == pytest.approx(math.log(2), abs=1e-4)
    smoothed = [row["smoothed"] for row in curve(out)]
    assert smoothed[:2] == [0, 0]
    assert 0 < told["smoothed"] < 1


def test_the_running_percentile_survives_an_interruption(artifact, tiny_model, monkeypatch):
    from stages.train import curve as curves

    inputs = {"pairs": artifact(Pairs, PAIRS), "policy": tiny_model, "reference": tiny_model}
    stage = DPO(loss=REFINING, **COMMON | {"max_steps": 7}, execution=Execution(checkpoint_every=2))
    whole, _ = fit(artifact, stage, **inputs)
    check, out, met = curves.check, artifact(Model), []

    def interrupted(step, logs, from_reference):
        met.append(step)
        if met == [1, 2, 3, 4, 5]:
            raise KeyboardInterrupt
        check(step, logs, from_reference)

    monkeypatch.setattr(curves, "check", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fit(artifact, stage, out, **inputs)
    fit(artifact, stage, out, **inputs)
    assert met == [1, 2, 3, 4, 5, 5, 6, 7]
    for name in ("model.safetensors", "curve.jsonl"):
        assert (out.path / name).read_bytes() == (whole.path / name).read_bytes()


def test_the_extrapolated_policy_is_that_of_both_models_logits(artifact, tiny_model, other_model):
    """Straight through transformers: full logits of both, (1 + λ)h − λh_ref, summed over the answer."""
    from stages.engines.logprobs import answer_states
    from stages.engines.models import load_model
    from stages.train.pair_objective import PairObjective

    sequences = [([5, 6, 7], [8, 9, 10]), ([5, 6], [11, 12])]
    together = packed(sequences)
    model, reference = load_model(other_model), load_model(tiny_model)
    objective = PairObjective(loss=REFINING, reference=tiny_model)
    states = answer_states(model, together)
    found = objective._extrapolated(model, states, together, 0.5)
    for row, (prompt, answer) in enumerate(sequences):
        whole = torch.tensor([prompt + answer])
        logits = 1.5 * model(whole).logits[0] - 0.5 * reference(whole).logits[0]
        logprobs = logits.log_softmax(-1)
        wanted = sum(logprobs[len(prompt) + place - 1, token] for place, token in enumerate(answer))
        assert found[row].item() == pytest.approx(wanted.item(), abs=1e-3)


def test_without_extrapolation_no_reference_is_loaded(artifact, tiny_model):
    from stages.engines import models

    stage = DPO(loss=SelfRefining(beta=0.1, extrapolation=0), **COMMON | {"max_steps": 1})
    fit(artifact, stage, pairs=artifact(Pairs, PAIRS), policy=tiny_model, reference=tiny_model)
    assert len(models._resident) == 0
    fit(
        artifact,
        DPO(loss=REFINING, **COMMON | {"max_steps": 1}),
        pairs=artifact(Pairs, PAIRS),
        policy=tiny_model,
        reference=tiny_model,
    )
    assert len(models._resident) == 1


def test_the_sft_term_raises_the_chosen_answers(artifact, tiny_model):
    inputs = {"pairs": artifact(Pairs, PAIRS), "policy": tiny_model, "reference": tiny_model}
    _, plain = fit(artifact, DPO(loss=Sigmoid(beta=0.1), **COMMON), **inputs)
    out, held = fit(artifact, DPO(loss=Sigmoid(beta=0.1), sft_weight=5, **COMMON), **inputs)
    assert held["last_chosen_logp_change"] > plain["last_chosen_logp_change"]
    first = curve(out)[0]
    assert first["preference_loss"] == pytest.approx(math.log(2), abs=1e-4)
    assert first["loss"] == pytest.approx(first["preference_loss"] + 5 * first["sft_loss"], rel=1e-4)


def test_length_normalised_log_probs_are_per_token(artifact, tiny_model, other_model):
    """Against another reference the first loss is that of Δ with each answer's log-ratio divided by its tokens."""
    from stages.pairs.logprobs import LogProbs

    known = {}
    for name, model in (("policy", tiny_model), ("reference", other_model)):
        table = artifact(Pairs)
        LogProbs()(pairs=artifact(Pairs, PAIRS[:1]), model=model, out=table)
        known[name] = next(table.rows())
    ratios = [
        (known["policy"][f"{side}_logp"] - known["reference"][f"{side}_logp"]) / len(known["policy"][f"{side}_tokens"])
        for side in ("chosen", "rejected")
    ]
    stage = DPO(loss=Sigmoid(beta=2.0), length_normalised=True, learning_rate=1e-3, max_steps=1, batch=1)
    _, told = fit(artifact, stage, pairs=artifact(Pairs, PAIRS[:1]), policy=tiny_model, reference=other_model)
    assert told["first_loss"] == pytest.approx(-math.log(1 / (1 + math.exp(-2.0 * (ratios[0] - ratios[1])))), rel=1e-4)


def test_losses_that_read_a_column_get_it_and_say_so_when_it_is_not_there(artifact, tiny_model):
    odds = {"preference": 0.8, "chosen_wins": 0.7, "rejected_wins": 0.3}
    inputs = {"policy": tiny_model, "reference": tiny_model}
    for loss, first in ((Soft(beta=0.1), math.log(2)), (SPPO(beta=0.1), 4.0), (Identity(tau=0.1), 25.0)):
        told = fit(artifact, DPO(loss=loss, **COMMON), pairs=artifact(Pairs, [row | odds for row in PAIRS]), **inputs)[
            1
        ]
        assert told["first_loss"] == pytest.approx(first, rel=1e-3)
    with pytest.raises(ValueError, match=r"reads 'preference', but 16 of 16 pairs have none"):
        fit(artifact, DPO(loss=Soft(beta=0.1), **COMMON), pairs=artifact(Pairs, PAIRS), **inputs)


def test_inpo_trains_against_two_references(artifact, tiny_model, other_model):
    stage = INPO(eta=0.5, tau=0.1, **COMMON)
    inputs = {"pairs": artifact(Pairs, PAIRS), "policy": tiny_model, "reference": tiny_model}
    same = fit(artifact, stage, anchor=tiny_model, **inputs)[1]
    assert same["first_loss"] == pytest.approx(1.0, rel=1e-3), "h is 0 where all three are one: (0 − 1/(2η))²"
    other = fit(artifact, stage, anchor=other_model, **inputs)[1]
    assert other["first_loss"] != pytest.approx(1.0, rel=1e-2)


def consistency(artifact, policy, earlier, **fields):
    stage = Consistency(question=QUESTION, beta=0.1, **COMMON | fields)
    inputs = {"pairs": artifact(Pairs, PAIRS), "policy": policy, "reference": policy, "earlier": earlier}
    return fit(artifact, stage, **inputs)


def test_consistency_decides_agreement_at_every_step_and_tells_it(artifact, tiny_model, other_model):
    out, told = consistency(artifact, tiny_model, other_model)
    assert 0 < told["agreeing"] < 1
    assert {"penalty", "judge_confidence", "implicit_confidence", "agreeing"} <= curve(out)[0].keys()
    assert out.trained_against == tiny_model.identity


@pytest.mark.parametrize("gradient", ["implicit_only", "judge_only", "both"])
def test_how_the_step_is_split_changes_nothing_but_memory(artifact, tiny_model, other_model, gradient):
    fields = {"gradient": gradient, "max_steps": 3}
    start = weights(tiny_model)
    whole, parts = (
        weights(consistency(artifact, tiny_model, other_model, execution=Execution(micro_batch=size), **fields)[0])
        for size in (8, 2)
    )
    moved = max((whole[name] - start[name]).abs().max().item() for name in start)
    assert max((whole[name] - parts[name]).abs().max().item() for name in start) < moved / 50


def test_whose_gradient_the_penalty_moves_is_another_training(artifact, tiny_model, other_model):
    made = [
        weights(consistency(artifact, tiny_model, other_model, gradient=gradient, max_steps=2)[0])
        for gradient in ("implicit_only", "judge_only", "both")
    ]
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert max((made[one][name] - made[other][name]).abs().max().item() for name in made[0]) > 1e-6


def test_the_penalty_makes_the_two_rewards_agree_more(artifact, tiny_model, other_model):
    out, _ = consistency(artifact, tiny_model, other_model, gradient="both", penalty=10.0, entropy=0.0, max_steps=12)
    penalties = [row["penalty"] for row in curve(out)]
    assert sum(penalties[-4:]) < sum(penalties[:4])


def test_where_nothing_agrees_only_the_penalty_is_learned_and_such_steps_are_counted(artifact, tiny_model, other_model):
    _, told = consistency(artifact, tiny_model, other_model, agree_above=0.499)
    assert told["agreeing"] == 0
    assert told["steps_without_agreement"] == COMMON["max_steps"]


def test_an_earlier_model_that_is_the_policy_is_refused(artifact, tiny_model):
    with pytest.raises(ValueError, match=r"would prefer nothing"):
        consistency(artifact, tiny_model, tiny_model)


def demonstrations(artifact, count=16):
    rows = [
        {
            "prompt_id": f"d{i}",
            "prompt": [{"role": "user", "content": f"Question {i}?"}],
            "completion": [{"role": "assistant", "content": f"Answer {i % 3}, yes." * (1 + i % 4)}],
        }
        for i in range(count)
    ]
    return artifact(Demonstrations, rows)


def test_sft_learns_the_answers_and_its_loss_is_the_mean_over_their_tokens(artifact, tiny_model):
    from stages.engines.chat import answer_tokens, prompt_tokens
    from stages.engines.models import end_of_turn, load_model, load_tokenizer

    table = demonstrations(artifact, 8)
    _, told = fit(artifact, SFT(**COMMON), demonstrations=table, policy=tiny_model)
    tokenizer, ends = load_tokenizer(tiny_model), end_of_turn(tiny_model)
    sequences = [
        (prompt_tokens(tokenizer, row["prompt"]), answer_tokens(tokenizer, row["prompt"], row["completion"], ends))
        for row in table.rows()
    ]
    total = answer_logprobs(load_model(tiny_model), packed(sequences)).sum().item()
    assert told["first_loss"] == pytest.approx(-total / sum(len(answer) for _, answer in sequences), rel=1e-4)
    assert told["last_loss"] < told["first_loss"]


def test_sft_is_the_same_however_much_is_in_memory_at_once(artifact, tiny_model):
    start = weights(tiny_model)
    whole, parts = (
        weights(
            fit(
                artifact,
                SFT(**COMMON, execution=Execution(micro_batch=size)),
                demonstrations=demonstrations(artifact),
                policy=tiny_model,
            )[0]
        )
        for size in (8, 2)
    )
    moved = max((whole[name] - start[name]).abs().max().item() for name in start)
    assert max((whole[name] - parts[name]).abs().max().item() for name in start) < moved / 50


def test_more_demonstrations_are_learned_with_the_others(artifact, tiny_model):
    both = {"demonstrations": demonstrations(artifact, 8), "more": demonstrations(artifact, 4)}
    _, told = fit(artifact, SFT(**COMMON), policy=tiny_model, **both)
    assert told["demonstrations"] == 12
    with pytest.raises(ValueError, match=r"no demonstration is left"):
        fit(artifact, SFT(max_tokens=3, **COMMON), policy=tiny_model, **both)


def test_epochs_come_to_steps_by_the_rows_that_there_are(artifact, tiny_model):
    stage = DPO(loss=Sigmoid(beta=0.1), learning_rate=1e-3, epochs=1.5, batch=8)
    _, told = fit(artifact, stage, pairs=artifact(Pairs, PAIRS), policy=tiny_model, reference=tiny_model)
    assert told["steps"] == 3


def test_a_pair_whose_judge_prompt_shows_both_orders(artifact, tiny_model):
    from stages.engines.models import load_tokenizer

    stage = Consistency(question=QUESTION, beta=0.1, **COMMON)
    row = {"prompt": [{"role": "user", "content": "Why?"}], **{k: pair("p")[k] for k in ("chosen", "rejected")}}
    made = stage._row(dict(row), tiny_model)
    shown, swapped = (
        load_tokenizer(tiny_model).decode(made[name]) for name in ("judge_tokens", "judge_swapped_tokens")
    )
    assert "<first>a good answer</first><second>a bad one</second>" in shown
    assert "<first>a bad one</first><second>a good answer</second>" in swapped
