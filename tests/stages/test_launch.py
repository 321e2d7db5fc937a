"""Training in two processes: the trajectory of one, on a real process group."""

import json
import math
import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from importlib.util import find_spec

import pytest

from stages.artifacts import Demonstrations, Model, Pairs
from stages.pairs.logprobs import LogProbs
from stages.train.checkpoints import last_whole
from stages.train.consistency import Consistency
from stages.train.dpo import DPO
from stages.train.launch import Launch, launched
from stages.train.objectives import Sigmoid
from stages.train.self_refining import SelfRefining
from stages.train.sft import SFT
from stages.train.training import Execution
from tests.stages.test_dpo import PAIRS, weights

ONE = Execution(micro_batch=4, checkpoint_every=2)
TWO = Execution(micro_batch=2, checkpoint_every=2, launch=Launch(processes=2))
COMMON = {"learning_rate": 1e-3, "max_steps": 4, "batch": 8}
STAGE = DPO(loss=Sigmoid(beta=0.1), **COMMON)


def made(kind, folder, rows=None):
    folder.mkdir()
    if rows is not None:
        kind(folder).write(rows)
    return kind(folder)


@pytest.fixture(scope="module")
def runs(tiny_model_path, tmp_path_factory):
    """The policy, its pairs with the log-probs that scoring had, and a training of them in one process and in two."""
    folder, policy = tmp_path_factory.mktemp("runs"), Model(tiny_model_path)
    pairs = made(Pairs, folder / "known")
    LogProbs()(pairs=made(Pairs, folder / "pairs", PAIRS), model=policy, out=pairs)
    inputs = {"pairs": pairs, "policy": policy, "reference": policy}
    outs = [made(Model, folder / name) for name in ("one", "two")]
    told = [replace(STAGE, execution=how)(out=out, **inputs) for how, out in zip((ONE, TWO), outs, strict=True)]
    return inputs, outs, told


def curve(model):
    return [json.loads(line) for line in (model.path / "curve.jsonl").read_text().splitlines()]


def check_same(one, other, start):
    """The same numbers at every step, up to the order in which they were summed."""
    for mine, theirs in zip(curve(one), curve(other), strict=True):
        assert mine.keys() == theirs.keys()
        for name in mine:
            assert mine[name] == pytest.approx(theirs[name], rel=2e-3, abs=2e-4), name
    assert apart(one, other) < apart(one, start) / 50


def apart(one, other):
    return max((weights(one)[name] - weights(other)[name]).abs().max().item() for name in weights(one))


def test_two_processes_take_the_same_steps_as_one_over_the_same_batches(runs):
    inputs, (one, two), (told, also) = runs
    check_same(one, two, inputs["policy"])
    assert also["first_loss"] == pytest.approx(math.log(2), abs=1e-4)
    assert also["known_logps"] == len(PAIRS), "what scoring had goes through"
    assert also.keys() == told.keys()
    assert also["steps"] == 4
    assert two.trained_against == inputs["policy"].identity


def test_what_two_began_one_finishes_and_the_other_way_round(runs, tmp_path):
    inputs, outs, _ = runs
    longer, undisturbed = replace(STAGE, max_steps=6), made(Model, tmp_path / "undisturbed")
    replace(longer, execution=ONE)(out=undisturbed, **inputs)
    for begun, execution in zip(outs, (TWO, ONE), strict=True):
        out = made(Model, tmp_path / f"on-from-{begun.path.name}")
        shutil.copytree(begun.scratch / "checkpoint-4", out.scratch / "checkpoint-4")
        assert replace(longer, execution=execution)(out=out, **inputs)["steps"] == 6
        check_same(undisturbed, out, inputs["policy"])
        assert curve(out)[:4] == curve(begun), "not trained again"


def test_demonstrations_are_learned_alike_in_two_processes(tiny_model, tmp_path):
    """Answers of other lengths in each process: the mean is over all tokens of the batch."""
    rows = [
        {"prompt_id": f"d{i}", "prompt": row["prompt"], "completion": [dict(row["chosen"][0])]}
        for i, row in enumerate(PAIRS)
    ]
    for i, row in enumerate(rows):
        row["completion"][0]["content"] *= 1 + i % 4
    table, outs = made(Demonstrations, tmp_path / "table", rows), []
    for name, execution in (("one", ONE), ("two", TWO)):
        outs.append(made(Model, tmp_path / name))
        SFT(**COMMON, execution=execution)(demonstrations=table, policy=tiny_model, out=outs[-1])
    check_same(*outs, tiny_model)


def test_a_batch_that_the_processes_cannot_share_alike_is_refused_while_planning():
    with pytest.raises(ValueError, match=r"micro_batch \(2\) times processes \(3\) must divide batch \(8\)"):
        replace(STAGE, execution=Execution(micro_batch=2, launch=Launch(processes=3)))
    assert replace(STAGE, execution=Execution(micro_batch=8, launch=Launch(processes=2))).micro_batch == 4


def test_what_sees_all_pairs_in_order_is_refused_in_many_processes():
    with pytest.raises(ValueError, match=r"SelfRefining sees all pairs in one order.*launch=none"):
        DPO(loss=SelfRefining(beta=0.1, extrapolation=0), **COMMON, execution=TWO)
    with pytest.raises(ValueError, match=r"Consistency sees all pairs in one order"):
        Consistency(question="{question}{first}{second}", beta=0.1, **COMMON, execution=TWO)


def test_how_a_training_is_spread_never_changes_its_key():
    from loops.fingerprint import fingerprint

    assert fingerprint(replace(STAGE, execution=TWO)) == fingerprint(STAGE)


def rank_or(refusal):
    if refusal and os.environ["RANK"] == "1":
        raise ValueError(refusal)
    return float(os.environ["WORLD_SIZE"])


def test_the_first_process_answers_and_what_any_refuses_is_refused():
    assert launched(None, abs, -3) == 3
    assert launched(Launch(processes=2), rank_or, "") == 2
    with pytest.raises(ValueError, match=r"^the loss is NaN$"):
        launched(Launch(processes=2), rank_or, "the loss is NaN")


def wait_in(folder):
    (folder / os.environ["RANK"]).write_text(str(os.getpid()))
    time.sleep(120)


def test_the_processes_end_with_a_worker_that_is_killed(tmp_path):
    program = (
        "import sys; from pathlib import Path; from stages.train.launch import Launch, launched\n"
        "from tests.stages.test_launch import wait_in\n"
        "if __name__ == '__main__': launched(Launch(processes=2), wait_in, Path(sys.argv[1]))"
    )
    (tmp_path / "worker.py").write_text(program)
    place = os.environ | {"PYTHONPATH": os.getcwd()}
    worker = subprocess.Popen([sys.executable, tmp_path / "worker.py", tmp_path], env=place)
    files = [tmp_path / "0", tmp_path / "1"]
    until(lambda: all(file.exists() and file.read_text() for file in files))
    worker.kill()
    worker.wait()
    until(lambda: not any(os.path.exists(f"/proc/{file.read_text()}") for file in files))


def until(seen):
    deadline = time.monotonic() + 60
    while not seen():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_deepspeed_that_is_not_there_is_refused_with_the_way_to_get_it():
    if find_spec("deepspeed"):
        pytest.skip("deepspeed is there")
    with pytest.raises(ValueError, match=r"pip install 'selfloop\[deepspeed\]'"):
        Launch(processes=2, deepspeed={"zero_optimization": {"stage": 3}})


def test_a_training_goes_on_only_from_weights_that_lie_as_its_own_do(tmp_path):
    checkpoint = tmp_path / "checkpoint-3"
    checkpoint.mkdir()
    (checkpoint / "model.safetensors").write_bytes(b"weights")
    sealed = {"layout": "whole", "sizes": {"model.safetensors": 7}}
    (checkpoint / "whole.json").write_text(json.dumps(sealed))
    assert last_whole(tmp_path, Execution().layout) == str(checkpoint)
    assert last_whole(tmp_path, Execution(launch=Launch(processes=2)).layout) == str(checkpoint)
    assert last_whole(tmp_path, Execution(launch=Launch(processes=2, fsdp={"version": 2})).layout) is None
