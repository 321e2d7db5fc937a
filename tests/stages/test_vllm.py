"""vLLM, for real, where it is installed: seeds, ends, likelihoods; shared, swapped, replaced and ended."""

import math
import os
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path  # noqa: F401

import pytest

from stages.artifacts import Completions, Model, Prompts
from stages.engines.engine import Request, Sampling
from stages.engines.hf import HF
from stages.engines.models import end_of_turn, load_model, release
from stages.engines.tensor_parallel import TensorParallel
from stages.engines.vllm import VLLM
from stages.engines.vllm_probe import LENGTH, alike, says_the_same
from stages.generate.sample import Sample
from tests.recipes.tiny import command, environment
from tests.stages.rows import answered, prompt

HAVE = find_spec("vllm") is not None
real = pytest.mark.skipif(not HAVE, reason="vLLM is not installed in this environment: make setup-vllm")
pytestmark = pytest.mark.filterwarnings("ignore")  # vLLM's own
GREEDY = Sampling(temperature=0, top_p=1.0, max_new_tokens=24)
FREE = Sampling(temperature=1.0, top_p=0.9, max_new_tokens=24)


def requests(n, count=40):
    """Prompts of 3 to 90 tokens, more than vLLM passes at once; n answers each."""
    return [
        Request(
            prompt=[5 + (place * 7 + step) % 200 for step in range(3 + place * 7 % 90)],
            seeds=[100 * place + sample for sample in range(n)],
        )
        for place in range(count)
    ]


def processes():
    """The ids of vLLM's processes that are this one's."""
    import psutil

    below = psutil.Process().children(recursive=True)
    return {one.pid for one in below if one.name().startswith("VLLM")}


@pytest.fixture(scope="module")
def engine():
    yield VLLM(rows=16, context=256)
    release()


@pytest.mark.skipif(HAVE, reason="vLLM is installed here")
def test_without_vllm_it_is_refused_while_planning():
    with pytest.raises(ValueError, match="make setup-vllm"):
        VLLM()


@real
@pytest.mark.parametrize("fields", [{"rows": 0}, {"memory": 0}, {"memory": 1.5}])
def test_impossible_values_are_refused(fields):
    with pytest.raises(ValueError, match=r"at least|\(0, 1\]"):
        VLLM(**fields)


@real
def test_an_answer_depends_on_its_seed_and_not_on_what_is_drawn_beside_it(engine, wide_models):
    model, asked = wide_models[0], requests(n=4)
    answers = answered(engine, model, asked, FREE)
    assert answered(engine, model, asked, FREE) == answers
    assert answered(engine, model, asked[::-1], FREE)[::-1] == answers
    assert answered(engine, model, asked[5:7], FREE) == answers[5:7]
    assert sum(len({tuple(answer) for answer in of_one}) > 1 for of_one in answers) > len(asked) / 2


@real
def test_greedy_answers_are_those_of_transformers(engine, wide_models):
    asked = requests(n=1)
    assert answered(engine, wide_models[0], asked, GREEDY) == answered(HF(), wide_models[0], asked, GREEDY)


@real
def test_a_model_over_two_devices_draws_and_scores_what_one_does(wide_models):
    from stages.engines.logprobs import score_sequences

    both = TensorParallel(devices=2, inner=VLLM(rows=16, context=256, tensor_parallel=2))
    asked = requests(n=1, count=8)
    drawn = answered(both, wide_models[0], asked, GREEDY)
    assert drawn == answered(HF(), wide_models[0], asked, GREEDY)
    sequences = [(request.prompt, ids) for request, [ids] in zip(asked, drawn, strict=True)]

    def scored(model):
        return dict(score_sequences(load_model(model), sequences, 4096))

    assert processes(), "it goes on beside what scores"
    [found] = both.each(scored, [wide_models[0]])
    assert found == pytest.approx(scored(wide_models[0]), abs=1e-4)
    release()
    assert not processes()


@real
def test_a_kept_adapter_is_answered_with_over_its_base_and_the_next_one_without_a_new_start(
    engine, artifact, wide_models
):
    pytest.importorskip("peft", reason="an adapter needs peft")
    from stages.artifacts import Pairs
    from stages.train.adapter import LoRA
    from stages.train.dpo import DPO
    from stages.train.objectives import Sigmoid
    from tests.stages.test_dpo import PAIRS

    fields = {"learning_rate": 1e-2, "max_steps": 4, "batch": 8}
    stage = DPO(loss=Sigmoid(beta=0.1), adapter=LoRA(r=4, alpha=8, merged=False), **fields)
    base = wide_models[0]
    models, asked, said, lived = [base], requests(n=1), [], []
    for _ in range(2):
        models.append(artifact(Model))
        stage(pairs=artifact(Pairs, PAIRS), policy=models[-2], reference=models[-2], out=models[-1])
    for model in (models[1], models[2], models[0], models[1]):
        said.append(answered(engine, model, asked, GREEDY))
        assert said[-1] == answered(HF(), model, asked, GREEDY)
        lived.append(processes())
    assert said[0] == said[3] != said[1] != said[2]
    assert lived[0] == lived[1] == lived[2] == lived[3], "one base, one vLLM"
    release()  # one that was started for adapters is given no other weights


@real
def test_an_answer_ends_with_its_end_of_turn_once_or_says_that_it_was_cut(engine, artifact, wide_models):
    out = artifact(Completions)
    stage = Sample(n=40, temperature=2.0, max_new_tokens=6, seed=1, engine=engine)
    stage(prompts=artifact(Prompts, [prompt("p0", "Hi"), prompt("p1", "Name rivers")]), policy=wide_models[0], out=out)
    rows, ends = list(out.rows()), end_of_turn(wide_models[0])
    assert {row["finish_reason"] for row in rows} == {"stop", "length"}, "the test needs both"
    for row in rows:
        found = [place for place, token in enumerate(row["completion_tokens"]) if token in ends]
        assert found == ([len(row["completion_tokens"]) - 1] if row["finish_reason"] == "stop" else [])
        assert row["finish_reason"] == "stop" or len(row["completion_tokens"]) == 6


@real
def test_tokens_are_drawn_as_often_as_they_are_likely(engine, wide_models):
    import torch

    start, draws = [5, 6, 7, 8], 4000
    one = Sampling(temperature=0.7, top_p=1.0, max_new_tokens=1)
    [answers] = answered(engine, wide_models[0], [Request(prompt=start, seeds=list(range(draws)))], one)
    with torch.inference_mode():
        logits = load_model(wide_models[0])(torch.tensor([start])).logits[0, -1]
    likely = (logits.float() / 0.7).softmax(-1)
    for token in likely.topk(5).indices.tolist():
        expected = likely[token].item()
        found = sum(answer == [token] for answer in answers) / draws
        assert found == pytest.approx(expected, abs=4 * math.sqrt(expected * (1 - expected) / draws))


@real
def test_steps_with_the_same_weights_share_one_vllm_and_others_are_swapped_in(engine, wide_models):
    asked = requests(n=1)
    first = answered(engine, wide_models[0], asked, GREEDY)
    running = processes()
    second = answered(engine, wide_models[1], asked, GREEDY)
    assert second == answered(HF(), wide_models[1], asked, GREEDY)
    assert second != first
    assert answered(engine, wide_models[0], asked, GREEDY) == first
    assert processes() == running, "swapped, not replaced"


@real
def test_where_a_swap_cannot_be_verified_vllm_is_replaced(engine, wide_models, monkeypatch):
    monkeypatch.setattr("stages.engines.vllm_probe.NEAR", 0.0)
    asked = requests(n=1, count=4)
    answered(engine, wide_models[0], asked, GREEDY)
    running = processes()
    answers = answered(engine, wide_models[1], asked, GREEDY)
    assert not processes() & running
    assert answers == answered(HF(), wide_models[1], asked, GREEDY)


@real
def test_training_gets_the_memory_back(engine, wide_models):
    answered(engine, wide_models[0], requests(n=1, count=2), GREEDY)
    assert processes()
    release()
    assert not processes()


ALONE = """
import sys
from stages.artifacts import Model
from stages.engines.vllm import VLLM
from tests.stages.test_vllm import GREEDY, Path, processes, requests, time

if __name__ == "__main__":
    list(VLLM(rows=4, context=256).generate(Model(Path(sys.argv[1])), requests(n=1, count=2), GREEDY))
    print("running", *processes(), flush=True)
    time.sleep(600)
"""


@real
def test_a_worker_that_is_killed_takes_its_vllm_with_it(wide_models, tmp_path):
    import psutil

    (tmp_path / "alone.py").write_text(ALONE)
    started = subprocess.Popen(
        [sys.executable, str(tmp_path / "alone.py"), str(wide_models[0].path)],
        env=environment(),
        stdout=subprocess.PIPE,
        text=True,
    )
    with started:
        running = next(line for line in started.stdout if line.startswith("running")).split()[1:]
        assert len(running) >= 1
        os.kill(started.pid, signal.SIGKILL)
    late = time.monotonic() + 20
    while any(psutil.pid_exists(int(one)) for one in running) and time.monotonic() < late:
        time.sleep(0.1)
    assert not [one for one in running if psutil.pid_exists(int(one))]


@real
def test_a_round_of_dice_runs_with_vllm_in_a_warm_worker(wide_models, tmp_path):
    words = command("dice", wide_models[0].path, "engine=vllm", "engine.context=512", "rounds=1")
    done = subprocess.run(words, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "steps run in" in done.stdout


def said_by(model):
    """What transformers says of the probe's tokens."""
    import torch

    from stages.engines import vllm_probe

    loaded = load_model(model, "cpu")
    tokens = torch.tensor([vllm_probe._tokens(loaded.config.vocab_size)])
    with torch.inference_mode():
        likely = loaded(input_ids=tokens).logits[0, :-1].log_softmax(-1)
    return likely.gather(-1, tokens[0, 1:, None])[:, 0].tolist()


def test_the_probe_tells_new_weights_from_stale_ones(tiny_model, other_model):
    stale, new = said_by(tiny_model), said_by(other_model)
    assert len(new) == LENGTH - 1
    assert says_the_same([said + 1e-3 for said in new], other_model, before=stale)
    assert not says_the_same(stale, other_model, before=stale)
    assert not says_the_same([said + 0.1 for said in new], other_model, before=stale)


def test_what_cannot_be_told_from_the_old_weights_counts_as_stale(tiny_model):
    said = said_by(tiny_model)
    assert not says_the_same(said, tiny_model, before=said)


def test_only_weights_of_the_same_shape_are_swapped(tiny_model, other_model, wide_models):
    assert alike(str(tiny_model.path), other_model)
    assert not alike(str(tiny_model.path), wide_models[0])
