"""An engine beside which models are scored over several devices, each with a share of every layer.

The one decision: the sharing is transformers' own (tensor parallelism, Megatron-LM, arXiv 1909.08053), by the plan that
a model's architecture brings. A score differs from that of one device in its last digits, as with another batch.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import nan
from multiprocessing.util import Finalize
from typing import Any, TypeVar

from stages.artifacts import Model
from stages.engines.engine import Answer, Engine, Request, Sampling, Spread
from stages.engines.ranks import Ranks
from stages.foreseen import Foreseen, Size

T = TypeVar("T")
_started: Ranks | None = None


@dataclass(frozen=True, kw_only=True)
class TensorParallel:
    """Processes of this machine that keep their shares between calls, and end with this one or when a training begins.

    Args:
        devices: how many, one a GPU; on a CPU as many as are wanted. A divisor of the model's heads and key heads.
        inner: the engine that draws answers, and spreads a model by means of its own.
    """

    devices: int
    inner: Engine

    def __post_init__(self) -> None:
        if self.devices < 2:
            raise ValueError(f"devices must be at least 2, not {self.devices}: with one, say the inner engine itself")
        if isinstance(self.inner, Spread):
            raise ValueError("the inner engine spreads what is scored already")
        if (drawn := getattr(self.inner, "devices", 1)) > self.devices:
            raise ValueError(f"the inner engine takes {drawn} devices, and devices says {self.devices}")

    @property
    def rows(self) -> int:
        """See Engine.rows."""
        return self.inner.rows

    def memory_of(self, model: Size, length: float) -> tuple[float, float, int]:
        """What the inner engine tells of it."""
        tell = getattr(self.inner, "memory_of", None)
        return tell(model, length) if tell else (nan, nan, 1)

    def generate(self, model: Model, requests: Sequence[Request], sampling: Sampling) -> Iterator[Answer]:
        """See Engine.generate."""
        return self.inner.generate(model, requests, sampling)

    def each(self, make: Callable[[T], Any], parts: Iterable[T]) -> Iterator[Any]:
        """What ``make`` makes of each part, in order, with models that all devices hold together."""
        return (self._made(make, part) for part in parts)

    def share(self, told: Foreseen) -> Foreseen:
        """See Spread.share. What is certain are weights. Each device has all of an embedding that is no head as well,
        and that is left out: 1.8 GB more for Llama 3 70B on eight."""
        own = told.least / self.devices
        return replace(told, memory=told.memory - told.least + own, least=own, devices=self.devices)

    def _made(self, make: Callable[[T], Any], part: T) -> Any:
        try:
            return self._ranks().do(make, part)
        except BaseException:
            dismiss()
            raise

    def _ranks(self) -> Ranks:
        global _started
        if _started is None or _started.size != self.devices:
            from stages.engines.models import let_go

            let_go()
            _check_devices(self.devices)
            _started = Ranks(self.devices)
            Finalize(None, dismiss, exitpriority=100)  # before a worker's end waits for processes that wait for it
        return _started


def dismiss() -> None:
    """End the processes that this one has started, if there are any."""
    global _started
    ended, _started = _started, None
    if ended is not None:
        ended.end()


def _check_devices(wanted: int) -> None:
    import torch

    if torch.cuda.is_available() and wanted > torch.cuda.device_count():
        raise ValueError(f"{wanted} devices are to share a model, and there are {torch.cuda.device_count()} GPUs")
