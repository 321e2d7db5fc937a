"""What a plan will cost: for each step memory, tokens, disk and time, before it runs.

The one decision: a stage foresees by the plan alone, and only measurements make time of it. A step takes as long as the
step of its kind that foresaw the most similar work, in proportion; what a step foresaw stands in its manifest beside
what it took. So a rate needs no book of its own, and a kind that nobody has seen yet is not known.

A kind is a stage on one kind of machine and on what its execution names, such as an engine.
"""

import typing
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from itertools import islice
from math import inf, isnan, log, nan
from typing import Any

from loops import manifest, provenance
from loops.errors import RecipeError
from loops.fingerprint import type_name
from loops.manifest import MANIFEST, Manifest
from loops.plan import Plan, Step
from loops.store import Store

MOST = 300
"""Manifests of the store that are read beside those of the plan. Keys are hashes, so those met first are any."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """Of a step; nan is not known, and 0 tokens are none. ``memory`` is that of one device at the peak in bytes, and
    ``least`` of it is certain; so many ``devices`` of one machine take it, which may have to be GPUs. ``bytes`` stay on
    disk, and ``kept`` of them are certain. ``work`` and ``rows`` are what was reckoned from."""

    memory: float = nan
    least: float = nan
    devices: int = 1
    only_gpus: bool = False
    tokens: float = nan
    at_most: bool = False
    bytes: float = nan
    kept: float = nan
    seconds: float = nan
    work: float = nan
    rows: float = nan

    @property
    def known(self) -> dict[str, float]:
        """Its numbers as far as they are known, as an order and a manifest hold them."""
        return {name: float(value) for name, value in asdict(self).items() if not isnan(value)}


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What a step that was made foresaw (``work``, ``rows``) and what it took."""

    work: float
    rows: float
    seconds: float
    bytes: float


@dataclass(frozen=True, kw_only=True)
class Rates:
    """Measurements by kind."""

    by_kind: dict[str, list[Measured]] = field(default_factory=dict)

    def seconds(self, kind: str, work: float) -> float:
        """What so much work of a kind takes."""
        return _nearest(((each.work, each.seconds) for each in self.by_kind.get(kind, [])), work)

    def bytes(self, kind: str, rows: float) -> float:
        """What so many rows of a kind take on disk."""
        return _nearest(((each.rows, each.bytes) for each in self.by_kind.get(kind, [])), rows)


def estimates(plan: Plan, rates: Rates, here: bool) -> dict[str, Estimate]:
    """By key, what each step of a plan will cost, if steps run on this machine (``here``) or on others."""
    foreseen: dict[str, Any] = {}
    for step in plan.steps:
        if step.key not in foreseen:
            foreseen[step.key] = _foreseen(step, foreseen)
    by_key = {step.key: step for step in plan.steps}
    return {key: _estimate(by_key[key], told, rates, here) for key, told in foreseen.items()}


def measured(made: Mapping[str, Manifest], store: Store, here: bool) -> Rates:
    """What manifests tell: those of a plan's own steps that are ``made``, by key, and some of the store's others. Where
    steps do not run ``here``, nobody knows on which machine of a cluster the next one will, and so all are of one kind.
    """
    rates = Rates()
    for told in [*made.values(), *_others(made, store)]:
        if "foreseen" in told.provenance:
            rates.by_kind.setdefault(_kind_made(told, here), []).append(_measured(told))
    return rates


def _others(made: Mapping[str, Manifest], store: Store) -> Iterator[Manifest]:
    places = (path.parent for path in store.root.glob(f"artifacts/*/*/{MANIFEST}"))
    for place in islice((place for place in places if place.name not in made), MOST):
        with suppress(ValueError):  # damaged, which is told elsewhere
            if told := manifest.read(place):
                yield told


def disk(told: Manifest) -> int:
    """Bytes of an artifact's files."""
    return sum(file["size"] for file in told.files.values())


def _foreseen(step: Step, foreseen: Mapping[str, Any]) -> Any:
    """What its stage foresees, None if it does not. Of an input that nobody foresees nothing is known: it is what the
    stage's annotation is without a word.

    Raises:
        RecipeError: the stage refuses what it sees.
    """
    foresee = getattr(step.stage, "foresee", None)
    if foresee is None:
        return None
    hints = typing.get_type_hints(type(step.stage).foresee)  # type: ignore[attr-defined]
    known = {name: foreseen[source.key] for name, source in step.inputs.items()}
    try:
        return foresee(**{name: told.size if told else _plain(hints[name])() for name, told in known.items()})
    except ValueError as refused:
        raise RecipeError(f"{step.id}: {refused}") from refused


def _plain(hint: Any) -> Any:
    """``Size | None`` is a Size."""
    return next((kind for kind in typing.get_args(hint) if kind is not type(None)), hint)


def _estimate(step: Step, told: Any, rates: Rates, here: bool) -> Estimate:
    kind = _kind(step, here)
    if told is None:
        return Estimate(seconds=rates.seconds(kind, nan), bytes=rates.bytes(kind, nan))
    rows, work = told.size.rows, told.size.rows if isnan(told.work) else told.work
    kept = told.size.bytes if told.kept is None else told.kept
    return Estimate(
        memory=told.memory,
        least=told.least,
        devices=told.devices,
        only_gpus=told.only_gpus,
        tokens=told.tokens,
        at_most=told.at_most,
        bytes=rates.bytes(kind, rows) if isnan(kept) else kept,
        kept=kept,
        seconds=rates.seconds(kind, work),
        work=work,
        rows=rows,
    )


def _kind(step: Step, here: bool) -> str:
    return _named(type_name(step.stage), provenance.runs_on(step.stage), here)


def _kind_made(told: Manifest, here: bool) -> str:
    return _named(told.stage["type"], told.provenance.get("runs_on", {}), here)


def _named(stage: str, runs_on: Mapping[str, str], here: bool) -> str:
    told = (f"{name}={value}" for name, value in sorted(runs_on.items()) if here or name != "machine")
    return " ".join([stage, *told])


def _measured(told: Manifest) -> Measured:
    known: Mapping[str, float] = told.provenance["foreseen"]
    return Measured(
        work=known.get("work", nan), rows=known.get("rows", nan), seconds=told.seconds, bytes=float(disk(told))
    )


def _nearest(pairs: Iterable[tuple[float, float]], size: float) -> float:
    """What belongs to a size, in proportion to what belongs to the nearest one; of an unknown size, the mean of those
    that were unknown as well; nan if there is none."""
    if isnan(size):
        alike = [value for other, value in pairs if isnan(other)]
        return sum(alike) / len(alike) if alike else nan
    near, found = inf, list[float]()
    for other, value in pairs:
        if other > 0 < size:
            away = round(abs(log(size / other)), 6)
            found = [*found, value * size / other] if away == near else [value * size / other] if away < near else found
            near = min(near, away)
    return sum(found) / len(found) if found else nan
