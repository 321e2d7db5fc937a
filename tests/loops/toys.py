"""Stages of numbers, to test the engine without language models."""

import json
import os
import sys
import time
import warnings
from dataclasses import dataclass, field
from math import nan
from pathlib import Path
from typing import ClassVar, Protocol, runtime_checkable

from loops.executors import Local
from stages.engines.client import Client
from stages.progress import count_tokens, progress


class File:
    """An artifact of one file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def value(self) -> float:
        return json.loads((self.path / "number.json").read_text())

    def write(self, value: float) -> dict[str, float]:
        (self.path / "number.json").write_text(json.dumps(value))
        return {"value": value}


class Number(File):
    """An artifact that holds one number."""


class Round(Number):
    """A number of a narrower kind."""


class Word(File):
    """Another kind."""


@dataclass(frozen=True, kw_only=True)
class Constant:
    """A number."""

    value: float
    place: str = field(default="here", compare=False)

    def __call__(self, *, out: Number) -> dict[str, float]:
        return out.write(self.value)


@dataclass(frozen=True, kw_only=True)
class Add:
    """Sum of two numbers, plus ``by``. ``trace`` is a file that gets a line for each call."""

    VERSION: ClassVar[int] = 1

    by: float = 0.0
    trace: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        if self.by < 0:
            raise ValueError(f"by must be at least 0, not {self.by}")

    def __call__(self, *, left: Number, right: Number, out: Number) -> dict[str, float]:
        if self.trace:
            with Path(self.trace).open("a") as file:
                file.write("called\n")
        return out.write(left.value + right.value + self.by)


@dataclass(frozen=True, kw_only=True)
class Over:
    """Tells whether a number is over ``limit``, and holds 1 if it is."""

    limit: float

    def __call__(self, *, number: Number, out: Number) -> dict[str, float]:
        out.write(float(number.value > self.limit))
        return {"over": out.value}


@dataclass(frozen=True, kw_only=True)
class Keep:
    """One of two numbers, by a verdict."""

    def __call__(self, *, verdict: Number, candidate: Number, incumbent: Number, out: Number) -> dict[str, float]:
        kept = out.write(incumbent.value if verdict.value else candidate.value)
        return {**kept, "kept_incumbent": float(bool(verdict.value))}


@dataclass(frozen=True, kw_only=True)
class Size:
    """How large an artifact is; not known by default."""

    rows: float = nan
    bytes: float = nan


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a toy foresees."""

    size: Size
    tokens: float
    work: float
    memory: float
    least: float
    at_most: bool = True
    devices: int = 1
    only_gpus: bool = False
    kept: float | None = None


@dataclass(frozen=True, kw_only=True)
class Heavy:
    """A number, whose making is foreseen to take memory and work in proportion to it."""

    rows: float
    least: float
    devices: int = 1
    only_gpus: bool = False

    def foresee(self) -> Cost:
        """Of so many rows."""
        spread = {"devices": self.devices, "only_gpus": self.only_gpus}
        size, memory = Size(rows=self.rows, bytes=8 * self.rows), max(10 * self.rows, self.least)
        return Cost(size=size, tokens=2 * self.rows, work=self.rows, memory=memory, least=self.least, **spread)

    def __call__(self, *, out: Number) -> dict[str, float]:
        time.sleep(0.02)
        return out.write(self.rows)


@dataclass(frozen=True, kw_only=True)
class Rounded:
    """A number of a narrower kind."""

    value: float

    def __call__(self, *, out: Round) -> dict[str, float]:
        return out.write(round(self.value))


@runtime_checkable
class Rule(Protocol):
    """What a rule must have."""

    sign: float


@dataclass(frozen=True, kw_only=True)
class Minus:
    """A rule."""

    sign: ClassVar[float] = -1.0


@dataclass(frozen=True, kw_only=True)
class Change:
    """``number`` and ``other``, which must not be the same, by a rule; the other may be left out."""

    DISTINCT: ClassVar = (("number", "other"),)

    rule: Rule = field(default_factory=Minus)

    def __call__(self, *, number: Number, out: Number, other: Number | None = None) -> dict[str, float]:
        return out.write(number.value + (self.rule.sign * other.value if other else 0))


@dataclass(frozen=True, kw_only=True)
class Fail:
    """Raises."""

    def __call__(self, *, number: Number, out: Number) -> dict[str, float]:
        (out.path / "half").write_text("written")
        raise RuntimeError("the toy broke")


@dataclass(frozen=True, kw_only=True)
class DieOnce:
    """Kills its own process the first time, as the system would: SIGKILL, in the middle of its output."""

    marker: str = field(compare=False)

    def __call__(self, *, number: Number, out: Number) -> dict[str, float]:
        (out.path / "half").write_text("written")
        if not Path(self.marker).exists():
            Path(self.marker).write_text("died")
            os.kill(os.getpid(), 9)
        (out.path / "half").unlink()
        return out.write(number.value)


@dataclass(frozen=True, kw_only=True)
class Slow:
    """Takes its time, which is over before when there is a file ``until``. ``trace`` gets a line when it is."""

    seconds: float = field(compare=False)
    until: str = field(default="", compare=False)
    trace: str = field(default="", compare=False)

    def __call__(self, *, out: Number) -> dict[str, float]:
        (out.path / "half").write_text("written")
        end = time.monotonic() + self.seconds
        while time.monotonic() < end and not (self.until and Path(self.until).exists()):
            time.sleep(min(0.05, self.seconds))
        (out.path / "half").unlink()
        if self.trace:
            with Path(self.trace).open("a") as file:
                file.write("made\n")
        return out.write(1.0)


@dataclass(kw_only=True)
class Late(Local):
    """An executor with a queue: it begins a step when the file ``begin`` is there."""

    def run(self, order: Path) -> None:
        while not Path("begin").exists():
            time.sleep(0.05)
        super().run(order)


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Makes so many rows of ten tokens each, one after the other, and tells how far it is. ``noise`` is what it prints
    meanwhile, as a library might."""

    total: int
    pause: float = field(default=0.0, compare=False)
    noise: str = field(default="", compare=False)

    def __call__(self, *, out: Number) -> dict[str, float]:
        with progress("counting", self.total, "rows") as bar:
            for _ in range(self.total):
                time.sleep(self.pause)
                if self.noise:
                    os.write(1, self.noise.encode())
                count_tokens(10)
                bar.update()
        return out.write(self.total)


@dataclass(frozen=True, kw_only=True)
class Meet:
    """Ends only if its twin runs at the same time."""

    name: str
    other: str
    place: str = field(compare=False)

    def __call__(self, *, out: Number) -> dict[str, float]:
        (Path(self.place) / f"met-{self.name}").touch()
        end = time.monotonic() + 60
        while not (Path(self.place) / f"met-{self.other}").exists():
            if time.monotonic() > end:
                raise TimeoutError("the other never came")
            time.sleep(0.02)
        return out.write(1.0)


@dataclass(frozen=True, kw_only=True)
class Spell:
    """Makes another kind."""

    def __call__(self, *, out: Word) -> dict[str, float]:
        return out.write(0)


@dataclass(frozen=True, kw_only=True)
class Leak:
    """Says every planted secret wherever a stage can say something; asks a server at ``url`` or raises, if told to."""

    number: int = 0
    url: str = field(default="", compare=False)
    fails: bool = field(default=False, compare=False)

    def __call__(self, *, out: Number) -> dict[str, float]:
        planted = [value for name, value in os.environ.items() if name.startswith("PLANTED")]
        for value in planted:
            print(f"python says {value}", file=sys.stderr)
            print(f"python says {value!r} and {json.dumps(value)}", file=sys.stderr)
            os.write(2, f"a compiled library says {value}\n".encode())
        warnings.warn(f"a warning of {planted}", stacklevel=1)
        if self.url:
            Client(url=self.url, connections=1, per_minute=None, retries=0, timeout=10, key=None).get("models")
        if self.fails:
            raise RuntimeError(f"refused: {planted[0]}\nand {planted}")
        return out.write(1.0)


@dataclass(frozen=True, kw_only=True)
class LeakAndWait:
    """Says the secrets, and then takes for ever."""

    def __call__(self, *, out: Number) -> dict[str, float]:
        Leak()(out=out)
        time.sleep(600)
        return out.write(1.0)
