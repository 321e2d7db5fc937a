"""The same work on a CUDA device: equal numbers, honest ends, first losses of ln 2, and a whole loop."""

import math
import subprocess

import pytest

from stages.artifacts import Completions, Model, Pairs, Prompts
from tests.recipes.tiny import command, environment
from tests.stages.rows import pair, prompt

pytestmark = pytest.mark.gpu

SEQUENCES = [([5, 6, 7, 8], [9, 10, 2]), ([5, 6], [11, 12, 13, 14, 15, 2]), ([20, 21, 22, 23], [2])]
PAIRS = [pair(f"p{i}", f"Question {i}?", f"Yes, {i} is fine.", f"No number {i} here.") for i in range(16)]


@pytest.fixture(autouse=True)
def _cuda():
    import torch

    if not torch.cuda.is_available():
        pytest.skip("there is no CUDA device")


def test_log_probs_are_those_of_the_cpu(tiny_model):
    from stages.engines.logprobs import score_sequences
    from stages.engines.models import load_model

    expected = dict(score_sequences(load_model(tiny_model, "cpu"), SEQUENCES, 10_000))
    got = dict(score_sequences(load_model(tiny_model, "cuda"), SEQUENCES, 10_000))
    assert [got[i] for i in range(3)] == pytest.approx([expected[i] for i in range(3)], abs=1e-3)


def test_sampling_is_reproducible_and_ends_honestly(artifact, tiny_model):
    from stages.engines.hf import HF
    from stages.generate.sample import Sample

    def draw():
        out = artifact(Completions)
        stage = Sample(n=8, temperature=1.0, top_p=0.9, max_new_tokens=24, seed=1, engine=HF())
        stage(
            prompts=artifact(Prompts, [prompt(f"p{i}", "Hi there " * i) for i in range(1, 9)]),
            policy=tiny_model,
            out=out,
        )
        return list(out.rows())

    first = draw()
    assert first == draw()
    assert "stop" in {row["finish_reason"] for row in first}


def test_training_begins_at_ln_2_and_learns(artifact, tiny_model):
    from stages.train.dpo import DPO
    from stages.train.objectives import Sigmoid

    stage = DPO(loss=Sigmoid(beta=0.1), learning_rate=1e-3, max_steps=6, batch=8)
    metrics = stage(pairs=artifact(Pairs, PAIRS), policy=tiny_model, reference=tiny_model, out=artifact(Model))
    assert metrics["first_loss"] == pytest.approx(math.log(2), abs=0.05)
    assert metrics["last_loss"] < 0.6


def test_two_rounds_of_dice_run_and_then_nothing_is_left_to_do(tiny_model_path, tmp_path):
    for expected in ("23 steps run", "0 steps run"):
        done = subprocess.run(
            command("dice", tiny_model_path), cwd=tmp_path, env=environment(), capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert expected in done.stdout
