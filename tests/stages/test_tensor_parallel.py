"""Scoring over two processes that share every model, against one that has all of it."""

import multiprocessing
import os
import signal
from math import isnan, log, nan

import pytest

from stages.artifacts import Completions, Model, Pairs, Prompts, Report, RewardModel, Scores
from stages.engines import models, tensor_parallel
from stages.engines.engine import Request, Sampling
from stages.engines.hf import HF
from stages.engines.models import release
from stages.engines.ranks import size
from stages.engines.shares import shared
from stages.engines.tensor_parallel import TensorParallel
from stages.evaluate.monitor import Monitor
from stages.evaluate.probe import Probe
from stages.foreseen import Foreseen, Size
from stages.generate.sample import Sample
from stages.pairs.ches import CHES
from stages.pairs.logprobs import LogProbs
from stages.score.external import External
from stages.score.implicit import ImplicitReward
from stages.score.yesno import YesNo
from stages.sources.reward import LocalReward
from stages.train.adapter import LoRA
from stages.train.dpo import DPO
from stages.train.launch import Launch
from stages.train.objectives import Sigmoid
from stages.train.training import Execution
from tests.stages.rows import prompt
from tests.stages.test_dpo import PAIRS
from tests.stages.test_external import save_classifier

BOTH = TensorParallel(devices=2, inner=HF())
CLOSE = 1e-4


@pytest.fixture(scope="module", autouse=True)
def _ended():
    yield
    release()


@pytest.fixture
def answers(artifact, tiny_model):
    out = artifact(Completions)
    stage = Sample(n=40, temperature=1.0, max_new_tokens=9, seed=1, engine=HF())
    stage(prompts=artifact(Prompts, [prompt("a", "Hi"), prompt("b", "Name rivers.")]), policy=tiny_model, out=out)
    return out


def scores(artifact, stage, **inputs):
    out = artifact(Scores)
    stage(**inputs, out=out)
    return [(row["score"], row["null_reason"]) for row in out.rows()]


def assert_alike(found, alone):
    assert [reason for _, reason in found] == [reason for _, reason in alone]
    assert any(score is not None for score, _ in found)
    assert [score for score, _ in found] == pytest.approx([score for score, _ in alone], abs=CLOSE)


def test_two_devices_that_share_policy_and_reference_score_as_one_does(artifact, answers, tiny_model, other_model):
    inputs = {"completions": answers, "policy": other_model, "reference": tiny_model}
    found = scores(artifact, ImplicitReward(engine=BOTH), **inputs)
    assert_alike(found, scores(artifact, ImplicitReward(), **inputs))
    assert found == scores(artifact, ImplicitReward(engine=BOTH), **inputs), "and always the same"


def test_each_of_them_has_its_share_of_the_weights(tiny_model):
    def held(model):
        from stages.engines.models import load_model

        layer = load_model(model).model.layers[0].mlp.gate_proj.weight
        return size(), layer.shape[0], layer.to_local().shape[0]

    assert list(BOTH.each(held, [tiny_model])) == [(2, 64, 32)]
    assert size() == 1


def test_a_judge_of_labels_and_a_reward_model_are_shared_too(artifact, answers, tiny_model, tmp_path):
    question = "<question>{question}</question> <response>{response}</response> Good?"
    judge = {"question": question, "min_mass": 0.0, "floor": 0.0, "yes": ("a",), "no": ("b",)}
    inputs = {"completions": answers, "judge": tiny_model}
    assert_alike(*(scores(artifact, YesNo(engine=engine, **judge), **inputs) for engine in (BOTH, None)))
    reward = artifact(RewardModel)
    LocalReward(path=save_classifier(tiny_model, tmp_path / "classifier"), dtype="float32")(out=reward)
    inputs = {"completions": answers, "reward": reward}
    assert_alike(*(scores(artifact, External(engine=engine), **inputs) for engine in (BOTH, None)))


def test_answers_are_drawn_by_the_inner_engine(tiny_model):
    asked, free = [Request(prompt=[5, 6, 7], seeds=[1, 2])], Sampling(temperature=1.0, top_p=1.0, max_new_tokens=8)
    drawn = [sorted(engine.generate(tiny_model, asked, free)) for engine in (BOTH, BOTH.inner)]
    assert drawn[0] == drawn[1]


def test_what_one_of_them_refuses_is_heard_and_the_others_do_not_wait_for_it():
    def refuse(_):
        if os.environ["RANK"] == "1":
            raise ValueError("this one refuses")
        import torch.distributed

        torch.distributed.init_process_group()
        torch.distributed.barrier()

    with pytest.raises(ValueError, match="this one refuses"):
        list(BOTH.each(refuse, [0]))
    assert list(BOTH.each(lambda part: part + 1, [1, 2])) == [2, 3], "others are there for the next"


def test_one_that_is_killed_is_noticed():
    def die(_):
        if os.environ["RANK"] == "1":
            os.kill(os.getpid(), signal.SIGKILL)
        import time

        time.sleep(60)

    with pytest.raises(RuntimeError, match="one of 2 processes died"):
        list(BOTH.each(die, [0]))


def scores_and_ends():
    assert list(BOTH.each(lambda _: size(), [0])) == [2]


def test_a_worker_that_has_used_them_ends_with_them():
    worker = multiprocessing.get_context("spawn").Process(target=scores_and_ends)
    worker.start()
    worker.join(timeout=120)
    try:
        assert worker.exitcode == 0, "it waits for processes that wait for it"
    finally:
        worker.kill()


def test_a_training_ends_them(tiny_model):
    assert list(BOTH.each(lambda _: size(), [0])) == [2]
    release()
    assert tensor_parallel._started is None


def test_tensors_that_come_back_keep_nothing_open():
    import torch

    before = len(os.listdir("/proc/self/fd"))
    made = list(BOTH.each(lambda part: [torch.ones(4) * part], range(30)))
    assert made[7][0].tolist() == [7.0] * 4
    assert len(os.listdir("/proc/self/fd")) < before + 30


def test_models_are_held_here_or_there_and_never_in_both_places(tiny_model, other_model):
    def held(model):
        from stages.engines import models

        models.load_model(model)
        return len(models._resident)

    models.load_model(tiny_model)
    assert list(BOTH.each(held, [tiny_model, other_model])) == [1, 1]
    assert len(models._resident) == 0
    models.load_model(tiny_model)
    assert tensor_parallel._started is None


def test_a_model_whose_heads_cannot_be_shared_or_that_nobody_has_a_plan_for_is_refused(tiny_model, tmp_path):
    from transformers import GPT2Config, LlamaConfig

    assert shared(tiny_model.path, 1) == {}
    with pytest.raises(ValueError, match="3 devices cannot share 4 num_attention_heads"):
        shared(tiny_model.path, 3)
    with pytest.raises(ValueError, match="4 devices cannot share 2 num_key_value_heads"):
        shared(tiny_model.path, 4)
    LlamaConfig(num_attention_heads=4, num_key_value_heads=2, vocab_size=301).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="2 devices cannot share 301 vocab_size"):
        shared(tmp_path, 2)
    GPT2Config(n_head=4).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="no plan by which devices share a gpt2"):
        shared(tmp_path, 2)


def test_pairs_and_answers_are_passed_over_both_as_by_one(artifact, answers, tiny_model, other_model):
    def told(engine):
        held_out = artifact(Pairs)
        numbers = LogProbs(engine=engine)(pairs=artifact(Pairs, PAIRS), model=tiny_model, out=held_out)
        inputs = {"policy": other_model, "held_out": held_out, "answers": answers}
        numbers |= Probe(engine=engine)(**inputs, out=artifact(Report))
        numbers |= CHES(keep=0.5, engine=engine)(pairs=artifact(Pairs, PAIRS), policy=tiny_model, out=artifact(Pairs))
        inputs = {"policy": tiny_model, "start": other_model, "answers": answers, "start_answers": answers}
        return numbers | Monitor(engine=engine)(**inputs, out=artifact(Report))

    assert told(BOTH) == pytest.approx(told(None), abs=CLOSE)


def test_a_training_takes_the_log_probs_that_pairs_do_not_bring_from_both(artifact, tiny_model, monkeypatch):
    used = []
    whole = TensorParallel.each
    monkeypatch.setattr(TensorParallel, "each", lambda *told: used.append(True) or whole(*told))
    stage = DPO(loss=Sigmoid(beta=0.1), learning_rate=1e-3, max_steps=1, batch=8, execution=Execution(engine=BOTH))
    told = stage(pairs=artifact(Pairs, PAIRS), policy=tiny_model, reference=tiny_model, out=artifact(Model))
    assert used
    assert told["first_loss"] == pytest.approx(log(2), abs=CLOSE)
    assert tensor_parallel._started is None, "and needs their memory then"


def test_an_adapter_over_its_base_is_shared_as_well(artifact, tiny_model):
    pytest.importorskip("peft", reason="an adapter needs peft")
    policy, adapter = artifact(Model), LoRA(r=4, alpha=8, merged=False)
    stage = DPO(loss=Sigmoid(beta=0.1), learning_rate=1e-2, max_steps=4, batch=8, adapter=adapter)
    stage(pairs=artifact(Pairs, PAIRS), policy=tiny_model, reference=tiny_model, out=policy)

    def logps(engine):
        out = artifact(Pairs)
        LogProbs(engine=engine)(pairs=artifact(Pairs, PAIRS), model=policy, out=out)
        return [row["chosen_logp"] for row in out.rows()]

    assert logps(BOTH) == pytest.approx(logps(None), abs=CLOSE)


def test_one_device_and_engines_within_one_another_are_refused():
    with pytest.raises(ValueError, match="at least 2"):
        TensorParallel(devices=1, inner=HF())
    with pytest.raises(ValueError, match="spreads what is scored already"):
        TensorParallel(devices=2, inner=BOTH)
    with pytest.raises(ValueError, match=r"say launch.processes=2, or a smaller engine.devices"):
        Execution(engine=BOTH, launch=Launch(processes=1))


def test_weights_are_foreseen_in_shares_and_what_lies_beside_them_whole():
    told = BOTH.share(Foreseen(size=Size(), memory=16e9 + 3e9, least=16e9))
    assert (told.memory, told.least, told.devices) == (8e9 + 3e9, 8e9, 2)
    assert isnan(BOTH.share(Foreseen(size=Size(), memory=nan, least=nan)).memory)
