"""An engine of many: workers of a Ray cluster, each of which holds an engine of its own, such as vLLM or transformers.

The one decision: answers are handed out singly and parts of a table whole. An answer depends on its prompt and seed, so
it is the same whoever draws it, and with whatever beside it, as far as the inner engine keeps that. The last digits of
a score depend on its batch, and that on its part.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from itertools import groupby
from math import nan
from typing import Any, TypeVar

from stages.artifacts import Model
from stages.engines.engine import Answer, Engine, Request, Sampling, over
from stages.engines.pieces import Item, Piece, shrinking
from stages.engines.ray_process import Hiring
from stages.engines.ray_workers import Workers
from stages.foreseen import Foreseen
from stages.progress import count_tokens, progress

T = TypeVar("T")
_hired: Workers | None = None


@dataclass(frozen=True, kw_only=True)
class RayPool:
    """Workers that keep their models between calls, and end with this process or when a training asks for memory.

    Args:
        inner: the engine that each worker holds; one that shares models over devices scores so, too.
        workers: how many; those for which the cluster has no room join when there is.
        cpus, gpus: of each worker, on one machine. As many as the inner engine spreads a model over.
        address: of the cluster's head; ``auto`` is the one that this machine belongs to.
    """

    inner: Engine
    workers: int
    cpus: int = 1
    gpus: int = 0
    address: str = "auto"

    def __post_init__(self) -> None:
        if self.workers < 1 or self.cpus < 0 or self.gpus < 0:
            raise ValueError("workers must be at least 1, cpus and gpus at least 0")
        if isinstance(self.inner, RayPool):
            raise ValueError("the inner engine of a pool is no pool")
        devices = getattr(self.inner, "devices", 1)
        if self.gpus != devices and (self.gpus or devices > 1):
            raise ValueError(f"each worker's engine takes {devices} GPUs, but gpus says {self.gpus}")
        if find_spec("ray") is None:
            raise ValueError("Ray is not installed in this environment: say `make setup-cluster`")

    @property
    def rows(self) -> int:
        """Answers that all workers together decode at once."""
        return self.workers * self.inner.rows

    def generate(self, model: Model, requests: Sequence[Request], sampling: Sampling) -> Iterator[Answer]:
        """See Engine.generate."""
        places = [(index, place) for index, request in enumerate(requests) for place in range(len(request.seeds))]
        items = [(requests[index].prompt, requests[index].seeds[place]) for index, place in places]
        drawing = _Drawing(engine=self.inner, model=model, sampling=sampling)
        pieces = shrinking(list(enumerate(items)), self.workers, self.inner.rows)
        with progress("decoding", len(places), "answers") as bar:
            for number, ids in self._workers().do(drawing, pieces):
                bar.update(1)
                count_tokens(len(ids))
                yield Answer(*places[number], ids)

    def each(self, make: Callable[[T], Any], parts: Iterable[T]) -> Iterator[Any]:
        """What ``make``, which is sent there with all that it holds, makes of each part, in order."""
        done, following = dict[int, Any](), 0
        making = _Making(make=make, engine=self.inner)
        for number, made in self._workers().do(making, ([item] for item in enumerate(parts))):
            done[number] = made
            while following in done:
                yield done.pop(following)
                following += 1

    def share(self, told: Foreseen) -> Foreseen:
        """See Spread.share: the workers' memory is not this machine's."""
        return replace(told, memory=nan, least=nan)

    def _workers(self) -> Workers:
        global _hired
        hiring = Hiring(address=self.address, workers=self.workers, cpus=self.cpus, gpus=self.gpus)
        if _hired is None or _hired.hiring != hiring:
            dismiss()
            _hired = Workers(hiring)
        return _hired


def dismiss() -> None:
    """End the workers that this process has hired, if there are any."""
    global _hired
    ended, _hired = _hired, None
    if ended is not None:
        ended.dismiss()


@dataclass(frozen=True, kw_only=True)
class _Drawing:
    """Draws answers: items are (prompt, seed), and what is made of one are the answer's ids."""

    engine: Engine
    model: Model
    sampling: Sampling

    def __call__(self, piece: Piece) -> Iterator[Item]:
        of_prompt = [list(items) for _, items in groupby(piece, key=lambda item: item[1][0])]
        requests = [Request(prompt=items[0][1][0], seeds=[seed for _, (_, seed) in items]) for items in of_prompt]
        for answer in self.engine.generate(self.model, requests, self.sampling):
            yield of_prompt[answer.request][answer.seed][0], answer.ids


@dataclass(frozen=True, kw_only=True)
class _Making:
    """Makes rows of parts."""

    make: Callable[[Any], Any]
    engine: Engine

    def __call__(self, piece: Piece) -> Iterator[Item]:
        numbers, parts = zip(*piece, strict=True)
        return zip(numbers, over(self.engine)(self.make, parts), strict=True)
