"""Answers as they end, written down for an attempt that is cut off.

The one decision: an answer is known by its prompt and its seed, which determine it. So whatever an earlier attempt left
is used where it is asked for again, however the work is divided now.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from stages.engines.engine import Request

MANY = 4096
"""So many answers that are not asked for are let go of: their parts have long been written."""


class Journal:
    """A file with a line an answer. A line that was cut off in the middle is none.

    Args:
        folder: where it lies; a stage's ``out.scratch``.
        requests: the answers that are wanted. Others are let go of when there are many.
    """

    def __init__(self, folder: Path, requests: Iterable[Request]) -> None:
        self._path = folder / "answers.jsonl"
        wanted = {_name(request.prompt, seed) for request in requests for seed in request.seeds}
        there = dict(_lines(self._path))
        self._known = {name: ids for name, ids in there.items() if name in wanted}
        if len(there) - len(self._known) > MANY:
            draft = self._path.with_suffix(".draft")
            draft.write_text("".join(_line(name, ids) for name, ids in self._known.items()), encoding="utf-8")
            draft.replace(self._path)

    def missing(self, request: Request) -> Request:
        """The request for those of its answers that have not ended before."""
        seeds = [seed for seed in request.seeds if _name(request.prompt, seed) not in self._known]
        return Request(prompt=request.prompt, seeds=seeds)

    def add(self, prompt: list[int], seed: int, ids: list[int]) -> None:
        """Keep an answer: from here on the death of this process does not lose it."""
        name = _name(prompt, seed)
        self._known[name] = ids
        with self._path.open("a", encoding="utf-8") as file:
            file.write(_line(name, ids))

    def answers(self, request: Request) -> list[list[int]]:
        """The ids of the request's answers, in order.

        Raises:
            ValueError: the engine has lost one.
        """
        found = [self._known.get(_name(request.prompt, seed)) for seed in request.seeds]
        if None in found:
            raise ValueError(f"the engine gave {len(found) - found.count(None)} of {len(found)} answers to a prompt")
        return [ids for ids in found if ids is not None]


def _name(prompt: list[int], seed: int) -> str:
    return hashlib.sha256(f"{seed}:{prompt}".encode()).hexdigest()[:24]


def _line(name: str, ids: list[int]) -> str:
    return f"\n{json.dumps([name, ids])}\n"


def _lines(path: Path) -> Iterator[tuple[str, list[int]]]:
    for line in path.read_bytes().splitlines() if path.exists() else ():
        try:
            name, ids = json.loads(line)
        except ValueError:
            continue
        yield name, ids
