"""Training in processes that share a model out by FSDP2, on CPUs: it is read once, with the steps of one process."""

import gc
import json
import math
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file
from torch.multiprocessing.spawn import ProcessExitedException

import stages.engines.models as models
import stages.train.preference_trainer as preference_trainer
from stages.artifacts import Demonstrations, Model, Pairs
from stages.engines.adapters import WEIGHTS
from stages.pairs.logprobs import LogProbs
from stages.sources.models import LocalModel
from stages.train.adapter import LoRA
from stages.train.launch import Launch
from stages.train.sft import SFT
from stages.train.training import Execution
from tests.stages.rows import pair
from tests.stages.test_dpo import PAIRS
from tests.stages.test_launch import COMMON, STAGE, check_same, curve, made

SHIPPED = yaml.safe_load((Path(__file__).parents[2] / "conf/launch/fsdp2.yaml").read_text(encoding="utf-8"))["fsdp"]
TRAIN = preference_trainer._train


def shared_by(processes):
    return Execution(micro_batch=2, checkpoint_every=2, launch=Launch(processes=processes, fsdp=SHIPPED))


def inputs_of(policy, folder):
    """Pairs with the policy's own log-probs; it is its own reference."""
    pairs = made(Pairs, folder / "known")
    LogProbs()(pairs=made(Pairs, folder / "pairs", PAIRS), model=policy, out=pairs)
    return {"pairs": pairs, "policy": policy, "reference": policy}


@pytest.fixture(scope="module")
def tied(tiny_model_path, tmp_path_factory):
    """A model whose head is its embedding, as a small model's often is."""
    from transformers import AutoModelForCausalLM

    path = tmp_path_factory.mktemp("models") / "tied"
    shutil.copytree(tiny_model_path, path)
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)
    model.config.tie_word_embeddings = True
    model.tie_weights()
    model.save_pretrained(path)
    return Model(path)


def bytes_of_tensors():
    """Of all tensors that this process holds."""
    gc.collect()
    tensors = [found for found in gc.get_objects() if type(found) in (torch.Tensor, torch.nn.Parameter)]
    stored = [tensor.untyped_storage() for tensor in tensors]
    return sum({storage.data_ptr(): storage.nbytes() for storage in stored}.values())


def watched_until_one_dies(settings, rows, objective, policy, out, from_reference):
    """Training that notes what each process reads and holds, until the second is gone in the fifth step."""
    from transformers import PreTrainedModel

    rank, folder = os.environ["RANK"], out.path.parent
    reads, watcher = PreTrainedModel.from_pretrained.__func__, preference_trainer.watcher
    (folder / f"read-by-{rank}").touch()

    def noted(cls, path, *more, **how):
        with open(folder / f"read-by-{rank}", "a") as file:
            print(path, file=file)
        return reads(cls, path, *more, **how)

    def on_step_begin(args, state, control, model, **_):
        if state.global_step == 0:
            whole = sum(weight.numel() * weight.itemsize for weight in model.parameters())
            (folder / f"held-by-{rank}").write_text(json.dumps([bytes_of_tensors(), whole]))
        if rank == "1" and state.global_step == 4:
            os._exit(9)

    def watching(*told):
        made = watcher(*told)
        made.on_step_begin = on_step_begin
        return made

    PreTrainedModel.from_pretrained = classmethod(noted)
    preference_trainer.watcher = watching
    return TRAIN(settings, rows, objective, policy, out, from_reference)


@pytest.fixture(scope="module")
def died(tied, tmp_path_factory):
    """A training in two processes of which one died behind the checkpoint of step 4."""
    folder, stage = tmp_path_factory.mktemp("died"), replace(STAGE, max_steps=6)
    inputs, out, undisturbed = inputs_of(tied, folder), made(Model, folder / "out"), made(Model, folder / "one")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(preference_trainer, "_train", watched_until_one_dies)
        with pytest.raises(ProcessExitedException):
            replace(stage, execution=shared_by(2))(out=out, **inputs)
    told = replace(stage, execution=Execution(micro_batch=4))(out=undisturbed, **inputs)
    assert told["first_loss"] == pytest.approx(math.log(2), abs=1e-4)
    return stage, inputs, out, undisturbed


def test_the_first_process_reads_the_policy_once_and_nobody_reads_a_reference(died):
    _, inputs, out, _ = died
    assert (out.path.parent / "read-by-0").read_text().split() == [str(inputs["policy"].path)]
    assert (out.path.parent / "read-by-1").read_text() == ""


def test_each_process_holds_its_share_and_no_other_model(died):
    for rank in (0, 1):
        held, whole = json.loads((died[2].path.parent / f"held-by-{rank}").read_text())
        assert whole / 2 <= held < 0.75 * whole, "a half, and what is trained on"


@pytest.mark.parametrize("processes", [2, 1])
def test_a_killed_training_goes_on_in_as_many_processes_or_in_fewer(died, tmp_path, processes):
    stage, inputs, out, undisturbed = died
    again = made(Model, tmp_path / "again")
    shutil.copytree(out.scratch / "checkpoint-4", again.scratch / "checkpoint-4")
    assert replace(stage, execution=shared_by(processes))(out=again, **inputs)["steps"] == 6
    check_same(undisturbed, again, inputs["policy"])


def test_processes_that_have_unequally_much_to_pass_stay_in_step(tied, tmp_path):
    """Of one there are fewer answer tokens than logits are made of at a time, of the other several times as many."""
    rows = [
        pair(f"q{i}", f"What about {i}?", "Sure. " * (40 if i % 2 else 1), "Never. " * (40 if i % 2 else 1))
        for i in range(8)
    ]
    pairs, outs = made(Pairs, tmp_path / "pairs", rows), []
    for name, execution in (("one", Execution(micro_batch=4)), ("two", replace(shared_by(2), micro_batch=4))):
        outs.append(made(Model, tmp_path / name))
        replace(STAGE, max_steps=2, execution=execution)(pairs=pairs, policy=tied, reference=tied, out=outs[-1])
    check_same(*outs, tied)


def test_a_model_that_is_passed_rows_apart_is_not_shared(tied, tmp_path):
    path = tmp_path / "narrow"
    shutil.copytree(tied.path, path)
    config = json.loads((path / "config.json").read_text()) | {"sliding_window": 64, "model_type": "mistral"}
    (path / "config.json").write_text(json.dumps(config | {"architectures": ["MistralForCausalLM"]}))
    pairs, narrow = made(Pairs, tmp_path / "pairs", PAIRS), Model(path)
    with pytest.raises(ValueError, match=r"a mistral is passed a batch's rows apart .* say launch=ddp"):
        replace(STAGE, execution=shared_by(2))(
            pairs=pairs, policy=narrow, reference=narrow, out=made(Model, tmp_path / "out")
        )


def in_bfloat16(*told):
    """Training as on hardware that multiplies in bfloat16."""
    models.multiplies_bfloat16 = lambda device: True
    return TRAIN(*told)


def test_an_adapter_over_a_base_in_bfloat16_takes_the_steps_of_one_process(tiny_model, tmp_path, monkeypatch):
    monkeypatch.setattr(models, "multiplies_bfloat16", lambda device: True)
    monkeypatch.setattr(preference_trainer, "_train", in_bfloat16)
    policy, outs = made(Model, tmp_path / "half"), []
    LocalModel(path=str(tiny_model.path), dtype="bfloat16")(out=policy)
    inputs = inputs_of(policy, tmp_path)
    stage = replace(STAGE, adapter=LoRA(r=4, alpha=8, merged=False), dtype="bfloat16", learning_rate=1e-2)
    for name, execution in (("one", Execution(micro_batch=2)), ("two", shared_by(2))):
        outs.append(made(Model, tmp_path / name))
        replace(stage, execution=execution)(out=outs[-1], **inputs)
    for mine, theirs in zip(*map(curve, outs), strict=True):
        assert theirs == pytest.approx(mine, rel=1e-3, abs=1e-4), "rounded as it is in one process"
    one, two = (load_file(out.path / WEIGHTS) for out in outs)
    assert one.keys() == two.keys()
    assert all(torch.allclose(two[name], one[name], atol=1e-4) for name in one)
    assert max(weight.abs().max() for name, weight in two.items() if "lora_B" in name) > 0.02
    first = curve(outs[1])[0]
    assert first["loss"] == pytest.approx(math.log(2), abs=1e-6)
    assert (first["chosen_logp_change"], first["rejected_logp_change"]) == (0, 0), "its reference is not rounded"


def test_demonstrations_are_learned_alike_where_activations_are_computed_twice(tied, tmp_path):
    rows = [{"prompt_id": row["prompt_id"], "prompt": row["prompt"], "completion": row["chosen"]} for row in PAIRS]
    table, outs = made(Demonstrations, tmp_path / "table", rows), []
    for name, execution in (("one", Execution(micro_batch=4)), ("two", replace(shared_by(2), checkpointing=True))):
        outs.append(made(Model, tmp_path / name))
        SFT(**COMMON, execution=execution)(demonstrations=table, policy=tied, out=outs[-1])
    check_same(*outs, tied)


@pytest.mark.parametrize(
    "told", [{"version": 1}, {"fsdp_version": "1"}, {"cpu_ram_efficient_loading": False}, {"fsdp_mixed_precision": 1}]
)
def test_what_would_share_out_otherwise_is_refused_while_planning(told):
    with pytest.raises(ValueError, match=f"fsdp: {next(iter(told))}"):
        Launch(processes=2, fsdp=told)
