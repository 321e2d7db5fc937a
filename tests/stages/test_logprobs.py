"""log π(y|x): equal to the plain definition, whatever is batched with it."""

import pytest
import torch

from stages.engines import logprobs
from stages.engines.logprobs import answer_logprobs, score_sequences
from stages.engines.models import load_model
from stages.engines.packed import batches, packed

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
    together = packed(SEQUENCES)
    whole = answer_logprobs(model, together)
    monkeypatch.setattr(logprobs, "CHUNKS", {"cpu": 3})
    model.requires_grad_(True)
    pieces = answer_logprobs(model, together)
    pieces.sum().backward()
    model.requires_grad_(False)
    assert torch.allclose(whole, pieces, atol=1e-4)
    assert model.get_input_embeddings().weight.grad.abs().sum() > 0


def test_a_prompt_stands_once_for_all_its_answers_and_nothing_is_padded():
    together = packed(SEQUENCES)
    assert together.ids.numel() == sum(len(answer) for _, answer in SEQUENCES) + 4 + 2 + 7
    assert together.targets.tolist() == [token for _, answer in SEQUENCES for token in answer]
    for row, (prompt, answer) in enumerate(SEQUENCES):
        before = together.before[together.rows == row]
        assert together.ids[0][before].tolist() == [prompt[-1], *answer[:-1]]
        assert together.positions[0][before].tolist() == list(range(len(prompt) - 1, len(prompt) + len(answer) - 1))


@pytest.mark.parametrize("tokens", [1, 12, 20, 10_000])
def test_batches_hold_every_index_once_and_keep_to_their_budget(tokens):
    groups = list(batches(SEQUENCES, tokens))
    assert sorted(index for group in groups for index in group) == [0, 1, 2, 3]
    for group in groups:
        assert len(group) == 1 or packed([SEQUENCES[index] for index in group]).ids.numel() <= tokens
    assert not any(0 in group and 3 not in group for group in groups) or tokens < 12


ARCHITECTURES = {
    "LlamaConfig": {},
    "Qwen3Config": {},
    "MistralConfig": {"sliding_window": 4},
    "Gemma3TextConfig": {"sliding_window": 4, "layer_types": ["sliding_attention", "full_attention"]},
    "Gemma2Config": {"sliding_window": 4},
    "Qwen2MoeConfig": {"sliding_window": 4, "use_sliding_window": True, "moe_intermediate_size": 16, "num_experts": 4},
    "PhimoeConfig": {"sliding_window": 4, "num_local_experts": 2},
    "GPTNeoXConfig": {},
    "Lfm2Config": {"layer_types": ["conv", "full_attention"]},
}


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_every_architecture_says_the_same_of_packed_sequences(kind):
    """Windows shorter than the sequences, said by the layers or only by their masks, and layers that keep a state."""
    import transformers

    from stages.engines.attention import NAME, attend_well

    sizes = {"vocab_size": 60, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "head_dim": 8}
    sizes |= {"num_attention_heads": 4, "num_key_value_heads": 2, "initializer_range": 0.2, "pad_token_id": 0}
    torch.manual_seed(0)
    config = getattr(transformers, kind)(**sizes, **ARCHITECTURES[kind])
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    expected = [plainly(model, *one) for one in SEQUENCES]
    attend_well(model)
    assert (model.config._attn_implementation == NAME) == (kind != "Lfm2Config")
    got = dict(score_sequences(model, SEQUENCES, tokens=10_000))
    assert [got[i] for i in range(4)] == pytest.approx(expected, abs=1e-3)


def test_a_head_of_more_than_one_layer_is_refused():
    """Its last layer alone would give other log-probs, in silence."""
    from transformers import AutoModelForCausalLM, ModernBertDecoderConfig

    sizes = {"vocab_size": 60, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "pad_token_id": 0}
    config = ModernBertDecoderConfig(**sizes, num_attention_heads=4, initializer_range=0.5)
    model = AutoModelForCausalLM.from_config(config).eval()
    with pytest.raises(ValueError, match=r"head of modernbert-decoder is not supported"):
        list(score_sequences(model, SEQUENCES, tokens=10_000))


def test_what_is_laid_out_is_bounded_too():
    """A long prompt with many short answers is few tokens in one line and many in attention."""
    sequences = [([5] * 200, [7] * 3) for _ in range(64)]
    for group in batches(sequences, 1000):
        assert sum(laid.numel() for laid in packed([sequences[index] for index in group]).laid) <= 4 * 1000


@pytest.mark.parametrize("name", ["output_multiplier", "lm_head_multiplier"])
def test_a_rule_for_logits_that_is_not_known_is_refused(name):
    from transformers import LlamaConfig

    config = LlamaConfig()
    setattr(config, name, 2.0)
    with pytest.raises(ValueError, match=name):
        logprobs._logit_rule(config)
