"""Low-rank adapters: where they begin, what their reference is in later rounds, and that everybody reads them."""

import json
import math

import pytest

pytest.importorskip("peft", reason="an adapter needs peft")

import torch

from stages.artifacts import Demonstrations, Model, Pairs
from stages.engines.adapters import has_adapter, whole
from stages.engines.engine import Request, Sampling
from stages.engines.hf import HF
from stages.engines.logprobs import answer_logprobs
from stages.engines.models import end_of_turn, load_model
from stages.engines.packed import packed
from stages.evaluate.keep import Keep
from stages.pairs.logprobs import LogProbs
from stages.train.adapter import LoRA
from stages.train.dpo import DPO
from stages.train.objectives import Sigmoid
from stages.train.sft import SFT
from stages.train.training import Execution
from tests.stages.rows import answered, pair
from tests.stages.test_dpo import PAIRS, weights

MERGED = LoRA(r=4, alpha=8)
KEPT = LoRA(r=4, alpha=8, merged=False)
TRIED = packed([([5, 6, 7], [8, 9, 10]), ([5, 6], [11, 12])])
NEW = [pair(f"q{i}", f"What about {i}?", f"Sure, take {i}.", f"Never {i}.") for i in range(16)]


def train(artifact, policy, adapter, pairs=PAIRS, out=None, **fields):
    out = out or artifact(Model)
    fields = {"loss": Sigmoid(beta=0.1), "learning_rate": 1e-2, "max_steps": 4, "batch": 8} | fields
    stage = DPO(adapter=adapter, **fields)
    return out, stage(pairs=artifact(Pairs, pairs), policy=policy, reference=policy, out=out)


def says(model):
    return answer_logprobs(load_model(model), TRIED)


@pytest.mark.parametrize("adapter", [MERGED, KEPT])
def test_every_round_begins_at_ln_2_against_the_model_of_the_round_before(artifact, tiny_model, adapter):
    policy, said = tiny_model, [says(tiny_model)]
    for pairs in (PAIRS, NEW, PAIRS):
        policy, told = train(artifact, policy, adapter, pairs)
        assert told["first_loss"] == pytest.approx(math.log(2), abs=1e-4)
        assert told["last_loss"] < 0.6
        said.append(says(policy))
        assert (said[-1] - said[-2]).abs().max() > 0.05, "the round has moved it"
        assert has_adapter(policy) == (not adapter.merged)


def test_merged_or_kept_the_same_training_gives_the_same_model(artifact, tiny_model):
    merged, _ = train(artifact, tiny_model, MERGED)
    kept, _ = train(artifact, tiny_model, KEPT)
    assert torch.allclose(says(merged), says(kept), atol=1e-4)
    assert not torch.allclose(says(merged), says(tiny_model), atol=1e-2)


def test_activations_that_are_computed_twice_change_nothing_over_a_frozen_base(artifact, tiny_model):
    once, _ = train(artifact, tiny_model, KEPT)
    twice, _ = train(artifact, tiny_model, KEPT, execution=Execution(checkpointing=True))
    assert torch.allclose(says(once), says(twice), atol=1e-4)


def test_only_the_targets_are_moved_and_by_no_more_than_r_directions(artifact, tiny_model):
    out, _ = train(artifact, tiny_model, LoRA(r=2, alpha=4, targets=("q_proj", "down_proj")))
    before, after = weights(tiny_model), weights(out)
    for name in before:
        moved = after[name] - before[name]
        if "q_proj" in name or "down_proj" in name:
            assert torch.linalg.matrix_rank(moved, atol=1e-5) == 2
        else:
            assert not moved.any()


def test_a_kept_adapter_lies_beside_its_base_which_stays_a_model_of_its_own(artifact, tiny_model):
    first, _ = train(artifact, tiny_model, KEPT)
    second, _ = train(artifact, first, KEPT, NEW)
    for model in (first, second):
        assert whole(model).identity == tiny_model.identity
        assert torch.equal(says(whole(model)), says(tiny_model))
        weights = whole(model).path / "model.safetensors"
        assert weights.samefile(tiny_model.path / "model.safetensors"), "no second copy"
        assert end_of_turn(model) == end_of_turn(tiny_model)
    assert second.trained_against == first.identity


def test_an_adapter_is_no_path_and_the_same_bytes_every_time(artifact, tiny_model):
    first, again = (train(artifact, tiny_model, KEPT)[0] for _ in range(2))
    for name in ("adapter_model.safetensors", "adapter_config.json", "config.json", "curve.jsonl"):
        assert (first.path / name).read_bytes() == (again.path / name).read_bytes()
    assert json.loads((first.path / "adapter_config.json").read_text())["base_model_name_or_path"] is None


def test_a_kept_adapter_is_scored_answered_with_and_handed_on_like_any_model(artifact, tiny_model):
    from stages.artifacts import Report

    kept, _ = train(artifact, tiny_model, KEPT)
    merged, _ = train(artifact, tiny_model, MERGED)
    known = []
    for model in (kept, merged):
        out = artifact(Pairs)
        LogProbs()(pairs=artifact(Pairs, PAIRS), model=model, out=out)
        known.append([row["chosen_logp"] for row in out.rows()])
    assert known[0] == pytest.approx(known[1], abs=1e-3)
    asked = [Request(prompt=[5, 6, 7], seeds=[1])]
    greedy = Sampling(temperature=0, top_p=1.0, max_new_tokens=12)
    assert answered(HF(), kept, asked, greedy) == answered(HF(), merged, asked, greedy)
    verdict, handed = artifact(Report), artifact(Model)
    verdict.write({"kept_incumbent": 0.0})
    Keep()(verdict=verdict, candidate=kept, incumbent=tiny_model, out=handed)
    assert handed.identity == kept.identity
    assert torch.equal(says(handed), says(kept))


def test_full_training_goes_on_from_a_kept_adapter(artifact, tiny_model):
    kept, _ = train(artifact, tiny_model, KEPT)
    out, told = train(artifact, kept, None, NEW, learning_rate=1e-3)
    assert told["first_loss"] == pytest.approx(math.log(2), abs=1e-4)
    assert not has_adapter(out)


@pytest.mark.parametrize("adapter", [MERGED, KEPT])
def test_an_interrupted_adapter_goes_on_from_its_last_checkpoint_to_the_same_bytes(
    artifact, tiny_model, monkeypatch, adapter
):
    from stages.train import curve

    execution = Execution(checkpoint_every=2)
    undisturbed, _ = train(artifact, tiny_model, adapter, max_steps=5)
    out, steps, check = artifact(Model), [], curve.check

    def interrupted(step, logs, from_reference):
        steps.append(step)
        if steps == [1, 2, 3]:
            raise KeyboardInterrupt
        check(step, logs, from_reference)

    monkeypatch.setattr(curve, "check", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(artifact, tiny_model, adapter, out=out, max_steps=5, execution=execution)
    train(artifact, tiny_model, adapter, out=out, max_steps=5, execution=execution)
    assert steps == [1, 2, 3, 3, 4, 5]
    file = "model.safetensors" if adapter.merged else "adapter_model.safetensors"
    for name in (file, "curve.jsonl"):
        assert (out.path / name).read_bytes() == (undisturbed.path / name).read_bytes()


def test_demonstrations_are_learned_by_an_adapter_too(artifact, tiny_model):
    rows = [
        {"prompt_id": f"d{i}", "prompt": row["prompt"], "completion": row["chosen"]} for i, row in enumerate(PAIRS[:8])
    ]
    out = artifact(Model)
    stage = SFT(learning_rate=1e-2, max_steps=4, batch=8, adapter=KEPT)
    told = stage(demonstrations=artifact(Demonstrations, rows), policy=tiny_model, out=out)
    assert told["last_loss"] < told["first_loss"]
    assert has_adapter(out)


def test_an_adapter_over_bfloat16_is_kept_in_float32(artifact, tiny_model, tmp_path):
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM, AutoTokenizer

    half = AutoModelForCausalLM.from_pretrained(tiny_model.path, dtype=torch.bfloat16)
    half.save_pretrained(tmp_path / "half")
    AutoTokenizer.from_pretrained(tiny_model.path).save_pretrained(tmp_path / "half")
    with pytest.raises(ValueError, match=r"stored in bfloat16 and stays so; dtype says float32"):
        train(artifact, Model(tmp_path / "half"), KEPT)
    out, told = train(artifact, Model(tmp_path / "half"), KEPT, dtype="bfloat16")
    assert told["first_loss"] == pytest.approx(math.log(2), abs=0.02)
    assert {weight.dtype for weight in load_file(out.path / "adapter_model.safetensors").values()} == {torch.float32}
    _, told = train(artifact, out, KEPT, NEW, dtype="bfloat16")
    assert told["first_loss"] == pytest.approx(math.log(2), abs=0.02)


def test_an_adapter_of_another_shape_or_for_layers_that_are_not_there_is_refused(artifact, tiny_model):
    kept, _ = train(artifact, tiny_model, KEPT)
    with pytest.raises(ValueError, match=r"has an adapter with r=4, alpha=8.*say the same numbers"):
        train(artifact, kept, LoRA(r=8, alpha=8, merged=False))
    with pytest.raises(ValueError, match=r"no linear layer 'query'; it has \['down_proj'"):
        train(artifact, tiny_model, LoRA(r=4, alpha=8, targets=("query",)))
    with pytest.raises(ValueError, match=r"r must be at least 1"):
        LoRA(r=0, alpha=8)
