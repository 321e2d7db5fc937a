"""CHES: the value that a hand comes to, the states of the real model, and which pairs stay."""

import pytest

from stages.artifacts import Pairs
from stages.engines.similarity import ches, mean_states
from stages.pairs.ches import CHES
from tests.stages.rows import pair


def test_length_normalised_ches_is_what_a_hand_comes_to():
    """h⁺ = [(1,0),(0,1)], h⁻ = [(1,1),(0,1),(1,0)]: 4/6 − 2/4."""
    import torch

    chosen = torch.tensor([[1.0, 0.0], [0.0, 1.0]]).mean(0)
    rejected = torch.tensor([[1.0, 1.0], [0.0, 1.0], [1.0, 0.0]]).mean(0)
    assert ches(chosen, rejected) == pytest.approx(1 / 6)


def test_states_are_those_that_predict_the_answers_tokens(tiny_model):
    import torch
    from transformers import AutoModelForCausalLM

    from stages.engines.models import load_model

    sequences = [([1, 20, 30], [40, 50]), ([1, 21], [41, 51, 61])]
    plain = AutoModelForCausalLM.from_pretrained(tiny_model.path)
    for tokens in (1, 100):
        found = dict(mean_states(load_model(tiny_model), sequences, tokens))
        for place, (prompt, answer) in enumerate(sequences):
            with torch.no_grad():
                states = plain(torch.tensor([prompt + answer]), output_hidden_states=True).hidden_states[-1][0]
            expected = states[len(prompt) - 1 : -1].mean(0)
            assert torch.allclose(found[place], expected, atol=1e-4)


def rows():
    return [
        pair("same", chosen="the river runs over stones", rejected="the river runs over stones."),
        pair("other", chosen="the river runs over stones", rejected="no"),
        pair("half", chosen="old birds sing", rejected="old bread"),
    ]


def filtered(artifact, model, **fields):
    out = artifact(Pairs)
    told = CHES(**fields)(pairs=artifact(Pairs, rows()), policy=model, out=out)
    return list(out.rows()), told


def test_the_pairs_with_the_lowest_stay_in_order(artifact, tiny_model):
    from stages.engines.models import load_model

    everything, told = filtered(artifact, tiny_model, keep=1)
    assert [row["prompt_id"] for row in everything] == ["same", "other", "half"]
    sequences = [(row["prompt_tokens"], row[f"{side}_tokens"]) for row in everything for side in ("chosen", "rejected")]
    means = dict(mean_states(load_model(tiny_model), sequences, 100))
    values = {row["prompt_id"]: ches(means[2 * n], means[2 * n + 1]) for n, row in enumerate(everything)}
    assert told["ches"] == told["ches_before"] == pytest.approx(sum(values.values()) / 3, rel=1e-4)
    two, told = filtered(artifact, tiny_model, keep=0.67)
    assert [row["prompt_id"] for row in two] == [name for name in values if values[name] != max(values.values())]
    assert told["dropped"] == 1
    (one,), told = filtered(artifact, tiny_model, keep=0.01)
    assert values[one["prompt_id"]] == min(values.values()) == pytest.approx(told["ches"], rel=1e-4)


def test_a_share_that_keeps_nothing_or_more_than_all_is_refused():
    for keep in (0, 1.5):
        with pytest.raises(ValueError, match="keep is a share"):
            CHES(keep=keep)


def test_where_every_pair_is_too_long_it_is_said(artifact, tiny_model):
    with pytest.raises(ValueError, match=r"no pair is left: \{'dropped_overlong': 3\}"):
        filtered(artifact, tiny_model, keep=1, max_tokens=3)
