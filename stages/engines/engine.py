"""What a stage asks of an engine that generates text."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

from stages.artifacts import Model
from stages.foreseen import Foreseen


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How the next token is drawn. Temperature 0 is greedy."""

    temperature: float
    top_p: float
    max_new_tokens: int

    def __post_init__(self) -> None:
        if self.temperature < 0:
            raise ValueError(f"temperature must be at least 0, not {self.temperature}")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p must be in (0, 1], not {self.top_p}")
        if self.max_new_tokens < 1:
            raise ValueError(f"max_new_tokens must be at least 1, not {self.max_new_tokens}")


@dataclass(frozen=True, kw_only=True)
class Request:
    """A prompt's ids and one seed for each answer that is wanted."""

    prompt: list[int]
    seeds: list[int]


class Answer(NamedTuple):
    """The generated ids of one answer, and whose it is: the places of its request and of its seed in that request.

    It ends with an end-of-turn id if the model ended it, and without one if it was cut off.
    """

    request: int
    seed: int
    ids: list[int]


@runtime_checkable
class Engine(Protocol):
    """Generates answers. Which engine, and how it batches, never changes what is drawn from."""

    @property
    def rows(self) -> int:
        """How many answers it decodes together; it likes to be asked for several times as many."""

    def generate(self, model: Model, requests: Sequence[Request], sampling: Sampling) -> Iterator[Answer]:
        """An answer for each seed of each request, each as soon as it has ended: what was handed over is not lost with
        what was being written beside it."""


@runtime_checkable
class Spread(Protocol):
    """What an engine of many workers can besides: have parts of a table made by them, which no engine draws."""

    def each(self, make: Callable[[Any], Any], parts: Iterable[Any]) -> Iterator[Any]:
        """What ``make`` makes of each part, in order. It is sent to the workers with all that it holds."""

    def share(self, told: Foreseen) -> Foreseen:
        """What is foreseen on each of this machine's devices, of what one would take that does all."""


def over(engine: Engine | None) -> Callable[[Callable[[Any], Any], Iterable[Any]], Iterator[Any]]:
    """How parts are made: by the engine's workers if it has some, else here, one after the other."""
    return engine.each if isinstance(engine, Spread) else map


def there(engine: Engine | None, told: Foreseen) -> Foreseen:
    """What a stage foresees that makes its parts ``over`` an engine."""
    return engine.share(told) if isinstance(engine, Spread) else told
