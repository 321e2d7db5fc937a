"""What is watched each round: known values, and that the numbers of a model are those of its own logits."""

import math

import pytest

from stages.artifacts import Completions, Prompts, Report
from stages.engines.hf import HF
from stages.evaluate.diversity import distinct, self_bleu
from stages.evaluate.monitor import Monitor
from stages.evaluate.next_token import next_token, spread
from stages.generate.sample import Sample
from tests.stages.rows import prompt


def test_distinct_n_counts_different_n_grams_of_all_answers_together():
    answers = [[1, 2, 1, 2], [1, 2, 3]]
    assert distinct(answers, 1) == 3 / 7
    assert distinct(answers, 2) == 3 / 5
    assert distinct(answers, 3) == 1
    assert distinct([[1], []], 2) == 0


def test_self_bleu_of_two_answers_is_what_a_hand_comes_to():
    """Half the words, a third of the bigrams, and nothing longer, smoothed to 0.1/2 and 0.1/1."""
    assert self_bleu([[1, 2, 3, 4], [1, 2, 5, 6]]) == pytest.approx((1 / 2 * 1 / 3 * 0.1 / 2 * 0.1) ** 0.25)


def test_self_bleu_is_1_where_all_answers_are_the_same_and_0_where_nothing_is_shared():
    assert self_bleu([[1, 2, 3, 4, 5]] * 3) == pytest.approx(1)
    assert self_bleu([[1, 2, 3, 4], [5, 6, 7, 8]]) == 0
    assert self_bleu([[1, 2, 3, 4], [5]]) is None, "an answer that is too short has no BLEU"


def test_entropy_mass_and_kl_are_what_a_hand_comes_to():
    import torch

    logits = torch.tensor([[0.0, 0.0, 0.0, 0.0], [0.5, 0.25, 0.25, 1e-30]])
    logits[1] = logits[1].log()
    found = spread(logits, torch.zeros(2, 4), top=1).tolist()
    assert found[0] == pytest.approx([math.log(4), 1.5 * math.log(2)])
    assert found[1] == pytest.approx([0.25, 0.5])
    assert found[2] == pytest.approx([0, math.log(4) - 1.5 * math.log(2)], abs=1e-6)
    assert spread(logits, logits, top=9)[1].tolist() == pytest.approx([1, 1])


@pytest.fixture
def answers(artifact, tiny_model):
    prompts = artifact(Prompts, [prompt("a", "Name a river."), prompt("b", "What is a bird, and why?")])
    out = artifact(Completions)
    Sample(n=1, temperature=0, max_new_tokens=12, seed=0, engine=HF(rows=4))(
        prompts=prompts, policy=tiny_model, out=out
    )
    return out


def test_a_models_numbers_are_those_of_its_own_logits_whatever_the_batch(answers, tiny_model, other_model):
    import torch
    from transformers import AutoModelForCausalLM

    sequences = [(row["prompt_tokens"], row["completion_tokens"]) for row in answers.rows()]
    policy, start = (AutoModelForCausalLM.from_pretrained(model.path) for model in (tiny_model, other_model))
    positions = []
    for asked, said in sequences:
        ids = torch.tensor([[*asked, *said]])
        with torch.no_grad():
            p, q = (model(ids).logits[0, len(asked) - 1 : -1].log_softmax(-1) for model in (policy, start))
        mass = p.exp().sort(descending=True).values[:, :5].sum(-1)
        positions.append(torch.stack([-(p.exp() * p).sum(-1), mass, (p.exp() * (p - q)).sum(-1)]))
    expected = torch.cat(positions, dim=1).mean(dim=1).tolist()
    for tokens in (1, 4096):
        found = next_token(tiny_model, other_model, sequences, top=5, batch_tokens=tokens)
        assert list(found) == ["entropy", "top_mass", "kl_to_start"]
        assert list(found.values()) == pytest.approx(expected, rel=1e-4)
    assert expected[2] > 1e-3


def monitor(artifact, policy, start, answers, start_answers):
    out = artifact(Report)
    told = Monitor()(policy=policy, start=start, answers=answers, start_answers=start_answers, out=out)
    assert {name: value for name, value in out.read().items() if value is not None} == told
    return told


def test_the_start_beside_itself_has_not_moved(artifact, answers, tiny_model):
    told = monitor(artifact, tiny_model, tiny_model, answers, answers)
    assert (told["length_ratio"], told["distinct_ratio"]) == (1, 1)
    assert told["kl_to_start"] == pytest.approx(0, abs=1e-6)
    assert 0 < told["entropy"] < math.log(400)


def test_answers_that_repeat_themselves_and_grow_are_seen(artifact, answers, tiny_model):
    rows = list(answers.rows())
    long = [{**row, "completion_tokens": [5, 6] * 12, "finish_reason": "length"} for row in rows]
    told = monitor(artifact, tiny_model, tiny_model, artifact(Completions, long), answers)
    said = sum(len(row["completion_tokens"]) - (row["finish_reason"] == "stop") for row in rows)
    assert told["length_ratio"] == pytest.approx(48 / said)
    assert told["distinct_2"] == pytest.approx(2 / 46)
    assert told["distinct_ratio"] < 0.3
    assert told["self_bleu"] == pytest.approx(1)


def test_answers_to_other_prompts_or_of_another_model_are_refused(artifact, answers, tiny_model, other_model):
    with pytest.raises(ValueError, match="other prompts"):
        monitor(artifact, tiny_model, tiny_model, answers, artifact(Completions, list(answers.rows())[:1]))
    with pytest.raises(ValueError, match="not sampled from this policy"):
        monitor(artifact, other_model, tiny_model, answers, answers)
