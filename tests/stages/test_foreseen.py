"""What stages foresee: rows, tokens, memory and disk, from the plan alone; what cannot be known is never a number."""

import json
import shutil
from math import isnan, nan

import pytest

from stages.engines.hf import HF
from stages.engines.memory import PROCESS, adapter_weights, decoding, four_bits, passing, training
from stages.engines.server import Server
from stages.evaluate.keep import Keep
from stages.foreseen import Foreseen, Size, at_most, largest, of_model
from stages.generate.sample import Sample
from stages.generate.self_instruct import SelfInstruct
from stages.pairs.extremes import Extremes
from stages.pairs.replay import Replay
from stages.score.implicit import ImplicitReward
from stages.score.judge import Judge
from stages.sources.gguf import LocalGGUF
from stages.sources.hub import HubPrompts
from stages.sources.local import LocalPairs, LocalPrompts
from stages.sources.models import LocalModel
from stages.train.adapter import LoRA
from stages.train.dpo import DPO
from stages.train.launch import Launch
from stages.train.objectives import Sigmoid
from stages.train.sft import SFT
from stages.train.training import Execution

MISTRAL = {"parameters": 7.24e9, "layers": 32, "width": 4096, "inner": 14336, "keys": 1024, "vocabulary": 32000}
SEVEN = of_model(MISTRAL, "bfloat16").size


def sampled(n=4, tokens=100, engine=None, prompts=None, policy=SEVEN):
    stage = Sample(n=n, temperature=1.0, max_new_tokens=tokens, seed=1, engine=engine or HF(rows=16))
    return stage.foresee(prompts=prompts or Size(rows=50.0, prompts=50.0, prompt=30.0), policy=policy)


def dpo(**fields):
    return DPO(loss=Sigmoid(beta=0.1), learning_rate=1e-6, **{"max_steps": 3, "batch": 8, **fields})


def test_a_models_shape_is_read_off_its_headers(tiny_model_path):
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny_model_path)
    size = LocalModel(path=str(tiny_model_path), dtype="bfloat16").foresee().size
    assert size.parameters == model.num_parameters()
    assert size.bytes == 2 * model.num_parameters()
    assert (size.layers, size.width, size.inner, size.vocabulary) == (2, 32, 64, model.config.vocab_size)
    assert size.keys == 2 * 8


def test_what_a_model_leaves_on_disk_is_what_its_weights_take(tiny_model_path, artifact):
    from stages.artifacts import Model

    stage, out = LocalModel(path=str(tiny_model_path), dtype="float32"), artifact(Model)
    stage(out=out)
    assert stage.foresee().size.bytes == pytest.approx((out.path / "model.safetensors").stat().st_size, rel=0.05)


def test_a_shape_that_nobody_said_is_not_known_and_a_wrong_one_is_refused(tmp_path):
    (tmp_path / "any.gguf").write_bytes(b"GGUF")
    stage = LocalGGUF(path=str(tmp_path / "any.gguf"), dtype="float32")
    assert isnan(stage.foresee().size.parameters)
    assert isnan(dpo().foresee(pairs=Size(rows=9.0), policy=stage.foresee().size, reference=Size()).least)
    with pytest.raises(ValueError, match="shape has no depth"):
        of_model({"depth": 3}, "float32")


def test_a_shape_is_no_part_of_a_models_identity(tmp_path):
    from loops.fingerprint import step_key

    (tmp_path / "any.gguf").write_bytes(b"GGUF")
    stages = [LocalGGUF(path=str(tmp_path / "any.gguf"), dtype="float32", shape=shape) for shape in (None, MISTRAL)]
    assert len({step_key(stage, {}) for stage in stages}) == 1


def test_a_files_rows_are_counted_and_limited(tmp_path, artifact):
    from stages.artifacts import Prompts

    rows = [{"prompt": "Say something short." * 3, "id": i} for i in range(20)]
    path = tmp_path / "prompts.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    for fields, expected in (({}, 20), ({"limit": 5}, 5), ({"skip": 18}, 2), ({"skip": 18, "limit": 5}, 2)):
        stage = LocalPrompts(path=str(path), **fields)
        assert stage.foresee().size.rows == expected == stage(out=artifact(Prompts))["prompts"]
    assert 10 < LocalPrompts(path=str(path)).foresee().size.prompt < 30
    pairs = LocalPairs(path=str(path)).foresee().size
    assert pairs.answer == pairs.prompt


def test_of_the_hubs_rows_only_the_limit_is_known():
    fields = {"repo": "a/b", "revision": "0" * 40, "split": "train"}
    assert HubPrompts(**fields, limit=7).foresee().size.rows == 7
    assert isnan(HubPrompts(**fields).foresee().size.rows)


def test_sampling_makes_n_answers_a_prompt_of_at_most_so_many_tokens():
    told = sampled(n=4, tokens=100)
    assert (told.size.rows, told.size.prompts, told.tokens, told.at_most) == (200, 50, 20_000, True)
    assert told.work == 20_000 * SEVEN.parameters
    assert told.least == SEVEN.bytes < told.memory


def test_memory_of_an_engine_that_does_not_tell_it_is_not_known():
    told = sampled(engine=Server(url="http://127.0.0.1:8000/v1"))
    assert isnan(told.memory)
    assert isnan(told.least)
    assert told.tokens == 20_000


def test_sizes_go_through_a_round():
    answers = sampled(n=4, tokens=100).size
    scored = ImplicitReward().foresee(completions=answers, policy=SEVEN, reference=SEVEN)
    assert (scored.tokens, scored.at_most, scored.least) == (2 * 20_000, True, SEVEN.bytes), "one model at a time"
    mined = Extremes(n=4).foresee(scores=scored.size)
    assert (mined.size.rows, mined.tokens) == (50, 0)
    pool = Size(rows=40.0, prompts=40.0, prompt=30.0, answer=200.0)
    mixed = Replay(offline=0.5, seed=1).foresee(mined=mined.size, pool=pool)
    assert (mixed.size.rows, mixed.size.answer) == (40, 200)
    trained = dpo().foresee(pairs=mixed.size, policy=SEVEN, reference=SEVEN)
    assert (trained.tokens, trained.at_most) == (3 * 8 * 2 * 200, True)
    assert trained.least == 16 * SEVEN.parameters < trained.memory
    assert trained.size.bytes == 4 * SEVEN.parameters


def test_epochs_train_on_as_many_rows_as_there_are():
    rows = Size(rows=80.0, prompts=80.0, prompt=10.0, answer=20.0)
    told = dpo(max_steps=None, epochs=2).foresee(pairs=rows, policy=SEVEN, reference=SEVEN)
    assert told.tokens == 2 * 80 * 2 * 20
    unknown = dpo(max_steps=None, epochs=2).foresee(pairs=Size(), policy=SEVEN, reference=SEVEN)
    assert isnan(unknown.tokens)
    assert unknown.least == told.least
    learnt = SFT(learning_rate=1e-6, epochs=1, batch=8).foresee(demonstrations=rows, more=rows, policy=SEVEN)
    assert learnt.tokens == 160 * 20


def test_what_is_not_known_of_an_input_is_not_known_of_what_is_made_of_it():
    told = sampled(prompts=Size())
    assert isnan(told.size.rows)
    assert isnan(told.tokens)
    judged = Judge(rubric=RUBRIC, votes=3, temperature=1.0, max_new_tokens=50, seed=1, engine=HF())
    assert isnan(judged.foresee(completions=told.size, judge=SEVEN).tokens)
    invented = SelfInstruct(n=5, request="{tasks}", temperature=1.0, max_new_tokens=50, seed=1, engine=HF())
    assert isnan(invented.foresee(seeds=Size(), pool=Size(), policy=SEVEN).size.prompt)
    assert isnan(Replay(offline=0.5, seed=1).foresee(mined=Size(), pool=Size(rows=3.0)).size.rows)


RUBRIC = "<question>{question}</question><response>{response}</response> Score:"


def test_memory_grows_with_what_is_held_at_once_and_checkpointing_saves_most_of_it():
    assert decoding(SEVEN, 32, 100) - PROCESS == pytest.approx(2 * (decoding(SEVEN, 16, 100) - PROCESS))
    assert passing(SEVEN, 8192) > passing(SEVEN, 4096)
    assert training(SEVEN, 4096, "float32", True, 1024) < training(SEVEN, 4096, "float32", False, 1024) / 5
    pairs = Size(rows=80.0, prompts=80.0, prompt=100.0, answer=400.0)
    memory = [
        dpo(execution=Execution(micro_batch=size)).foresee(pairs=pairs, policy=SEVEN, reference=SEVEN).memory
        for size in (1, 2, 4, 8)
    ]
    assert memory == sorted(memory)


def test_an_adapters_weights_are_counted_layer_by_layer(tiny_model_path):
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny_model_path)
    size = LocalModel(path=str(tiny_model_path), dtype="float32").foresee().size
    shapes = {name: weight.shape for name, weight in model.named_parameters() if "proj" in name}
    assert adapter_weights(size, 8, None) == sum(8 * sum(shape) for shape in shapes.values())
    one = [shape for name, shape in shapes.items() if "k_proj" in name]
    assert adapter_weights(size, 8, ["k_proj"]) == sum(8 * sum(shape) for shape in one)
    assert isnan(adapter_weights(size, 8, ["c_attn"]))


def test_devices_that_share_a_training_hold_a_share_each_and_what_is_offloaded_is_not_known(monkeypatch):
    for module in ("launch", "adapter"):  # as if DeepSpeed and bitsandbytes were here: nothing of them is run
        monkeypatch.setattr(f"stages.train.{module}.find_spec", lambda name: name)

    def told(adapter=None, **launch):
        execution = Execution(micro_batch=1, checkpointing=True, launch=Launch(processes=8, **launch))
        stage = dpo(dtype="bfloat16", execution=execution, adapter=adapter)
        pairs = Size(rows=9.0, prompt=100.0, answer=400.0)
        foreseen = stage.foresee(pairs=pairs, policy=SEVEN, reference=SEVEN)
        assert foreseen.devices == 8
        assert foreseen.only_gpus == ("deepspeed" in launch)
        return foreseen.least

    assert told() == 16 * SEVEN.parameters
    assert told(fsdp={"version": 2}) == 2 * SEVEN.parameters
    assert told(deepspeed={"zero_optimization": {"stage": 3}}) == 2 * SEVEN.parameters
    assert isnan(told(fsdp={"cpu_offload": True}))
    assert isnan(told(deepspeed={"zero_optimization": {"offload_optimizer": {"device": "cpu"}}}))
    for four, base in ((False, SEVEN.bytes), (True, four_bits(SEVEN))):
        assert told(LoRA(r=16, alpha=32.0, four_bits=four)) == base + 16 * adapter_weights(SEVEN, 16, None)


def test_a_base_in_four_bits_takes_a_little_more_than_a_quarter_of_two_bytes():
    assert 0.25 < four_bits(SEVEN) / SEVEN.bytes < 0.35


def test_bounds_that_are_not_known_bound_nothing():
    assert at_most(nan, 3.0, None) == 3.0
    assert isnan(at_most(nan, None))
    assert isnan(largest(1.0, nan))
    assert isnan(largest(nan, 1.0))
    assert largest(1.0, 2.0) == 2.0
    assert Foreseen(size=Size()).tokens == 0


def test_what_is_handed_on_over_links_keeps_its_size_and_takes_no_room():
    told = Keep().foresee(verdict=Size(), candidate=SEVEN, incumbent=SEVEN)
    assert (told.size, told.kept) == (SEVEN, 0.0)
    pairs = Size(rows=9.0, prompt=100.0, answer=400.0)
    told = dpo(adapter=LoRA(r=16, alpha=32.0, merged=False)).foresee(pairs=pairs, policy=SEVEN, reference=SEVEN)
    assert told.kept == 4 * adapter_weights(SEVEN, 16, None)
    assert dpo(adapter=LoRA(r=16, alpha=32.0)).foresee(pairs=pairs, policy=SEVEN, reference=SEVEN).kept is None


def test_the_same_weights_in_another_layout_besides_are_not_counted(tiny_model_path, tmp_path):
    shutil.copytree(tiny_model_path, tmp_path / "model")
    once = LocalModel(path=str(tmp_path / "model"), dtype="float32").foresee().size
    shutil.copy(tmp_path / "model/model.safetensors", tmp_path / "model/consolidated.safetensors")
    assert LocalModel(path=str(tmp_path / "model"), dtype="float32").foresee().size == once
