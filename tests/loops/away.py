"""A runner in a process of its own, to be killed: ``python -m tests.loops.away EXECUTOR PLACE SECONDS``."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from loops.errors import LoopError
from loops.plan import unroll
from loops.recipe import load
from loops.runner import Runner
from loops.stage import build
from loops.store import Store
from stages.engines.hf import HF
from tests.loops.recipes import TOYS, toy

ROOT = Path(__file__).parents[2]


class Slowly(HF):
    """transformers, with a rest after each answer, or what it is told to raise."""

    def generate(self, model, requests, sampling):
        for answer in super().generate(model, requests, sampling):
            time.sleep(0.03)
            yield answer


class Broken(HF):
    """Cannot."""

    def generate(self, model, requests, sampling):
        raise ValueError("the engine broke")


def slow(place, seconds=3.0):
    """A loop with a step that takes its time; ``trace`` in ``place`` gets a line each time that it was made."""
    stage = {"_target_": f"{TOYS}.Slow", "seconds": seconds, "trace": str(place / "trace")}
    return toy(rounds=0, setup={"slow": {"stage": stage}})


def begin(executor, place, seconds=3.0):
    """Begin it."""
    words = [sys.executable, "-m", "tests.loops.away", json.dumps(executor), str(place), str(seconds)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "SELFLOOP_TRUST": "tests"}
    return subprocess.Popen(words, env=environment, cwd=place, stderr=subprocess.PIPE, text=True)


def main(executor, place, seconds):
    plan = unroll(load(slow(place, seconds)))
    Runner(Store(place / "store"), build(executor, "executor"), [], place / "run").run(plan)


if __name__ == "__main__":
    try:
        main(json.loads(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]))
    except LoopError as failed:
        sys.exit(str(failed))
