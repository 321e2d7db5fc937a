"""log π(y|x): equal to the plain definition, whatever is batched with it."""

import pytest
import torch

from stages.engines import logprobs
from stages.engines.logprobs import answer_logprobs, batches, padded, score_sequences
from stages.engines.models import load_model

SEQUENCES = [
    ([5, 6, 7, 8], [9, 10, 2]),
    ([5, 6], [11, 12, 13, 14, 15, 2]),
    ([20, 21, 22, 23, 24, 25, 26], [2]),
    ([5, 6, 7, 8], [30, 31, 32, 33, 2]),
]


def plainly(model, prompt, answer):
    """Full logits, log-softmax, and the one-position shift, for one sequence."""
    with torch.no_grad():
        logits = model(torch.tensor([prompt + answer])).logits[0].float().log_softmax(-1)
    return sum(logits[len(prompt) + i - 1, token].item() for i, token in enumerate(answer))


def test_it_is_the_sum_over_the_answers_tokens_given_what_comes_before(tiny_model):
    model = load_model(tiny_model, "cpu")
    got = dict(score_sequences(model, SEQUENCES, tokens=10_000))
    assert [got[i] for i in range(4)] == pytest.approx([plainly(model, *one) for one in SEQUENCES], abs=1e-4)


def test_what_a_row_is_batched_with_does_not_matter(tiny_model):
    model = load_model(tiny_model, "cpu")
    together = dict(score_sequences(model, SEQUENCES, tokens=10_000))
    alone = dict(score_sequences(model, SEQUENCES, tokens=1))
    assert [together[i] for i in range(4)] == pytest.approx([alone[i] for i in range(4)], abs=1e-4)


def test_chunks_of_the_head_do_not_matter_and_gradients_flow(tiny_model, monkeypatch):
    model = load_model(tiny_model, "cpu")
    input_ids, mask = padded(SEQUENCES, "cpu")
    whole = answer_logprobs(model, input_ids, mask)
    monkeypatch.setattr(logprobs, "CHUNK", 3)
    model.requires_grad_(True)
    pieces = answer_logprobs(model, input_ids, mask)
    pieces.sum().backward()
    model.requires_grad_(False)
    assert torch.allclose(whole, pieces, atol=1e-4)
    assert model.get_input_embeddings().weight.grad.abs().sum() > 0


def test_batches_hold_every_index_once_and_keep_to_their_budget():
    lengths = [5, 50, 7, 49, 6, 1, 200]
    groups = list(batches(lengths, 100))
    assert sorted(index for group in groups for index in group) == list(range(len(lengths)))
    assert all(len(group) == 1 or max(lengths[i] for i in group) * len(group) <= 100 for group in groups)


@pytest.mark.parametrize("name", ["output_multiplier", "lm_head_multiplier"])
def test_a_rule_for_logits_that_is_not_known_is_refused(name):
    from transformers import LlamaConfig

    config = LlamaConfig()
    setattr(config, name, 2.0)
    with pytest.raises(ValueError, match=name):
        logprobs._logit_rule(config)
