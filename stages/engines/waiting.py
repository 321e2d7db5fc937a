"""The answers that wait for room in the batch, and what each of them brings along.

The one decision: those of long prompts first, so that nobody who joins is longer than who runs.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from stages.engines.engine import Request

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, kw_only=True)
class Answering:
    """An answer as it is written: the places of its request and seed, and the stream of uniform numbers of which each
    of its tokens is drawn with one."""

    place: tuple[int, int]
    prompt: tuple[int, ...]
    stream: "np.random.Generator"
    tokens: list[int] = field(default_factory=list)


def longest_first(requests: Sequence[Request], most: int) -> deque[list[Answering]]:
    """Answers in groups that have one prompt and join together: ``most`` at most, those of long prompts first."""
    answers = [
        [
            Answering(place=(index, place), prompt=tuple(request.prompt), stream=_stream(seed))
            for place, seed in enumerate(request.seeds)
        ]
        for index, request in enumerate(requests)
    ]
    groups = [of_one[first : first + most] for of_one in answers for first in range(0, len(of_one), most)]
    return deque(sorted(groups, key=lambda group: -len(group[0].prompt)))


def fitting(waiting: deque[list[Answering]], room: int) -> list[Answering]:
    """Take from the front as many as there is room for."""
    taken: list[Answering] = []
    while waiting and len(taken) + len(waiting[0]) <= room:
        taken += waiting.popleft()
    return taken


def _stream(seed: int) -> "np.random.Generator":
    import numpy as np

    return np.random.Generator(np.random.Philox(seed))
