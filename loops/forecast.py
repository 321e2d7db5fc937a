"""What is said of a plan's cost before it runs and after, and what is refused because it cannot fit.

The one decision: only what is certain is refused: weights that are larger than a device's memory, models that are
larger than what is free on disk. An estimate never is; it is shown, and afterwards it stands beside what really came.
"""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import isnan
from pathlib import Path
from statistics import median

from loops import machine
from loops.cells import cells, cells_made, memory_of, told
from loops.errors import RecipeError
from loops.estimate import Estimate, estimates, measured
from loops.manifest import Manifest
from loops.patience import Patience
from loops.plain import duration, size
from loops.plan import Plan, Step
from loops.store import Store


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """The estimates of a plan's steps beside what the store has of them.

    Args:
        here: whether steps run on this machine.
        memory: bytes that a step may take on a device; None: nobody knows what it will run on.
        where: whose memory that is, in words.
        free: bytes that the store may take; None: it is planned for another one.
        gpus: that one machine has; None: nobody knows on which it will run.
    """

    plan: Plan
    store: Store
    here: bool
    memory: float | None = None
    where: str = ""
    free: float | None = None
    gpus: int | None = None

    @cached_property
    def expected(self) -> dict[str, Estimate]:
        """By key, what each step will cost."""
        return estimates(self.plan, measured(self.made, self.store, self.here), self.here)

    @cached_property
    def made(self) -> dict[str, Manifest]:
        """By key, the steps that are there."""
        read = {step.key: self.store.read(step.key) for step in self.plan.steps}
        return {key: manifest for key, manifest in read.items() if manifest is not None}

    @cached_property
    def to_run(self) -> dict[str, Step]:
        """By key, the first step that needs it, of those that are neither here nor away."""
        places = self.plan.places()
        away = self.store.away(places)
        return {key: steps[0] for key, steps in places.items() if key not in self.made and key not in away}

    @property
    def foreseen(self) -> dict[str, dict[str, float]]:
        """By key, what orders say of it."""
        return {key: estimate.known for key, estimate in self.expected.items()}

    def cells(self) -> dict[str, str]:
        """By key, memory, tokens, disk and time: foreseen, or what they were and in brackets the time foreseen."""
        ahead = {key: cells(estimate) for key, estimate in self.expected.items()}
        return ahead | {key: cells_made(manifest) for key, manifest in self.made.items()}

    def check(self, patience: Patience) -> None:
        """
        Args:
            patience: which rounds may be begun. Where it may end the run, only the next one is certain to be.

        Raises:
            RecipeError: a step needs more GPUs or memory than there are, or the models more room than is free.
        """
        certain = self._certain(patience)
        for key, step in certain.items():
            self._check_fits(step, self.expected[key])
        kept = sum(each for key in certain if not isnan(each := self.expected[key].kept))
        if self.free is not None and kept > self.free:
            raise RecipeError(
                f"{self.store.root}: what is to run would leave at least {size(kept)} of models, and {size(self.free)} "
                "are free: say store=DIRECTORY where there is room, or make some with gc"
            )

    def _check_fits(self, step: Step, estimate: Estimate) -> None:
        who, elsewhere = f"{step.id}: {type(step.stage).__name__}", "to plan for one that is not this, say"
        gpus, devices, shared = self.gpus, estimate.devices, self._shared(estimate)
        if gpus is not None and gpus < devices > 1 and (gpus or estimate.only_gpus):
            raise RecipeError(
                f"{who} is spread over {devices} GPUs of one machine, and this one has {gpus}: spread it over fewer, "
                f"or take a machine with more; {elsewhere} device_memory=GB"
            )
        if self.memory is not None and estimate.least * shared > self.memory:
            needed = f"{size(memory_of(estimate) * shared)} of {size(self.memory)} {self.where}"
            raise RecipeError(
                f"{who} would need about {needed}. Take a smaller model, or a machine with more memory; "
                f"{elsewhere} device_memory=GB"
            )

    def _shared(self, estimate: Estimate) -> int:
        """How many of its devices take the same memory: what has no GPUs has one for all."""
        return estimate.devices if self.gpus == 0 else 1

    def _certain(self, patience: Patience) -> dict[str, Step]:
        patience.recall(self.plan, self.made.get)
        allowed = {key: step for key, step in self.to_run.items() if patience.allows(step)}
        first = min((step.round for step in allowed.values() if step.round), default=0)
        return {key: step for key, step in allowed.items() if not patience.ends or step.round <= first}

    def lines(self) -> list[str]:
        """What all that is to run will cost, and how well what has run was foreseen."""
        return ["", *(self._ahead() if self.to_run else []), *self.behind()]

    def _ahead(self) -> list[str]:
        ahead = {key: self.expected[key] for key in self.to_run}
        free = "" if self.free is None else f"; {size(self.free)} are free"
        lines = [
            f"to run: time    {_sum([each.seconds for each in ahead.values()], duration)}, one step after the other",
            f"        disk    {_sum([each.bytes for each in ahead.values()], size)}{free}",
        ]
        memory = {key: memory_of(each) * self._shared(each) for key, each in ahead.items()}
        greatest = max(memory, key=memory.__getitem__)
        if most := memory[greatest]:
            there = "" if self.memory is None else f"; there are {size(self.memory)} {self.where}"
            lines.append(f"        memory  {size(most)} at the most, by {self.to_run[greatest].id}{there}")
        return lines

    def behind(self) -> list[str]:
        """How well the time of what has run was foreseen; nothing if none of it was."""
        pairs = [(known["seconds"], made.seconds) for made in self.made.values() if "seconds" in (known := told(made))]
        if not pairs:
            return []
        foreseen, took = (sum(each) for each in zip(*pairs, strict=True))
        off = median(abs(took - foreseen) / max(took, 1e-3) for foreseen, took in pairs)
        return [
            f"made:   time    {duration(took)} where {duration(foreseen)} were foreseen, in {len(pairs)} of "
            f"{len(self.made)} steps; a step was off by {off:.0%} (median)"
        ]


def forecast(plan: Plan, store: Store, here: bool, device_memory: float | None) -> Forecast:
    """The forecast of a plan.

    Args:
        here: whether steps run on this machine.
        device_memory: GB of the device that is planned for; None: this machine's, if they run here.
    """
    if device_memory is not None:
        return Forecast(plan=plan, store=store, here=here, memory=device_memory * 1e9, where="(device_memory)")
    memory, where = machine.memory() if here else (None, "")
    gpus, free = len(machine.gpus()) if here else None, _free(store.root.resolve())
    return Forecast(plan=plan, store=store, here=here, memory=memory, where=where, free=free, gpus=gpus)


def _free(place: Path) -> int:
    """Bytes that are free where this directory is or will be."""
    return shutil.disk_usage(next(path for path in (place, *place.parents) if path.exists())).free


def _sum(values: Sequence[float], shown: Callable[[float], str]) -> str:
    known = [value for value in values if not isnan(value)]
    missing = f" and what {len(values) - len(known)} steps take, which is not known" if len(known) < len(values) else ""
    return f"about {shown(sum(known))}{missing}" if known else "not known"
