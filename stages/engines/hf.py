"""Generation with transformers, on whatever device there is.

The one decision: a row draws from its own seeded stream, so what it says depends on its prompt and seed and on nothing
that runs beside it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from stages.artifacts import Model
from stages.engines.engine import Answer, Request, Sampling
from stages.engines.memory import decoding
from stages.foreseen import Size


@dataclass(frozen=True, kw_only=True)
class HF:
    """transformers, in this process, on the fastest device that the machine has.

    Args:
        rows: answers that are decoded together, at most.
    """

    rows: int = 64

    def __post_init__(self) -> None:
        if self.rows < 1:
            raise ValueError(f"rows must be at least 1, not {self.rows}")

    def memory_of(self, model: Size, length: float) -> tuple[float, float, int]:
        """Bytes to decode answers of so many tokens, prompts included: about, and for certain; on how many devices."""
        return model.bytes + decoding(model, self.rows, length), model.bytes, 1

    def generate(self, model: Model, requests: Sequence[Request], sampling: Sampling) -> Iterator[Answer]:
        """See Engine.generate."""
        from stages.engines.decode import decode
        from stages.engines.models import end_of_turn, load_model

        return decode(requests, load_model(model), end_of_turn(model), sampling, self.rows)
