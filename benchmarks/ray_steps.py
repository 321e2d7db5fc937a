"""What vLLM draws in workers elsewhere, step by step, and what of it is in hand.

The one decision: tokens are counted where vLLM hands over each of its steps, in the worker's process, and an answer
counts as in hand when the process that asked for it has it. What lies between is what a kill would lose.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from threading import Event, Thread
from typing import Any

import psutil

GRACE = 10.0
"""Seconds in which what a killed worker had started may end by itself."""


@cache
def count_steps(folder: str) -> None:
    """Note in the folder, in a file of this process's, when each step of vLLM ends and how many tokens it drew."""
    from vllm.v1.engine.output_processor import OutputProcessor

    told = (Path(folder) / str(os.getpid())).open("a", buffering=1, encoding="utf-8")
    before = OutputProcessor.process_outputs

    def process_outputs(self: Any, outputs: list[Any], *more: Any, **named: Any) -> Any:
        told.write(f"{time.monotonic()} {sum(len(one.new_token_ids) for one in outputs)}\n")
        return before(self, outputs, *more, **named)

    OutputProcessor.process_outputs = process_outputs


@dataclass(frozen=True, kw_only=True)
class Step:
    """A step of a worker's vLLM: whose, when it ended, and how many tokens it drew."""

    worker: int
    time: float
    tokens: int


def steps(folder: Path, since: float) -> list[Step]:
    """All steps that were noted after a time."""
    lines = [(int(file.name), line.split()) for file in folder.iterdir() for line in file.read_text().splitlines()]
    found = [Step(worker=worker, time=float(when), tokens=int(tokens)) for worker, (when, tokens) in lines]
    return [step for step in found if step.time > since]


@dataclass(frozen=True, kw_only=True)
class Wave:
    """Answers that were asked for at once.

    Args:
        asked: when.
        answers: by seed, when the answer was in hand and its ids.
        steps: all steps of all workers.
        left: processes of a killed worker that were there after the wave.
    """

    asked: float
    answers: dict[int, tuple[float, list[int]]]
    steps: list[Step]
    left: int = 0

    def __str__(self) -> str:
        names = ("rate", "together", "wait", "first", "twice")
        shown = {name: round(getattr(self, name), 2) for name in names}
        return f"{len(self.answers)} answers of {self.tokens} tokens, {shown}, {self.left} processes left"

    @property
    def tokens(self) -> int:
        """Those in hand at last."""
        return sum(len(ids) for _, ids in self.answers.values())

    @property
    def twice(self) -> int:
        """Tokens that were drawn and never came in hand."""
        return sum(step.tokens for step in self.steps) - self.tokens

    @property
    def wait(self) -> float:
        """Seconds from asking to the first answer."""
        return min(when for when, _ in self.answers.values()) - self.asked

    @property
    def first(self) -> float:
        """Seconds from the first token to the first answer."""
        return min(when for when, _ in self.answers.values()) - self._began

    @property
    def seconds(self) -> float:
        """From the first token to the last answer."""
        return max(when for when, _ in self.answers.values()) - self._began

    @property
    def rate(self) -> float:
        """Tokens a second."""
        return self.tokens / self.seconds

    @property
    def together(self) -> float:
        """Tokens a step, which is how many answers a worker's vLLM decoded together."""
        return sum(step.tokens for step in self.steps) / len(self.steps)

    @property
    def tail(self) -> float:
        """Seconds from when the first worker had nothing more to do to the last answer."""
        ends = [max(step.time for step in self.steps if step.worker == one) for one in {s.worker for s in self.steps}]
        return max(when for when, _ in self.answers.values()) - min(ends)

    @property
    def unkept(self) -> float:
        """Tokens that were drawn and not in hand, in the mean over the time, where none is drawn twice."""
        drawn = sum(step.tokens * step.time for step in self.steps)
        return (sum(len(ids) * when for when, ids in self.answers.values()) - drawn) / self.seconds

    @property
    def _began(self) -> float:
        return min(step.time for step in self.steps)

    def same(self, other: "Wave") -> float:
        """The share of the other's answers that are the same here."""
        return sum(self.answers[seed][1] == ids for seed, (_, ids) in other.answers.items()) / len(other.answers)


@contextmanager
def worker_killed(folder: Path, tokens: int) -> Iterator[list[Any]]:
    """Meanwhile one worker is killed, as soon as all together have drawn so many tokens.

    Yields:
        The processes below it, once it has been killed.
    """
    begun, over, below = time.monotonic(), Event(), list[Any]()

    def watch() -> None:
        while not over.wait(0.05):
            drawn = steps(folder, begun)
            if sum(step.tokens for step in drawn) >= tokens:
                worker = psutil.Process(drawn[0].worker)
                below.extend(worker.children(recursive=True))
                worker.kill()
                return

    thread = Thread(target=watch)
    thread.start()
    try:
        yield below
    finally:
        over.set()
        thread.join()


def outlived(below: list[Any]) -> int:
    """How many of these processes are still there after some seconds; they are ended now."""
    alive: list[Any] = psutil.wait_procs(below, timeout=GRACE)[1]
    for process in alive:
        process.kill()
    return len(alive)
