"""Carries out one order: a JSON file that says which stage, on which artifacts, into which store.

The one decision: an order is plain JSON and needs nothing else, so a step can be run by this process, by a warm worker,
on another machine, or by hand: ``python -m loops.worker ORDER``.

A step's stderr (libraries' warnings, its traceback) goes to its log. How far it is, it tells in its draft.
"""

import json
import math
import os
import platform
import sys
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, suppress
from pathlib import Path
from typing import Any

from loops.errors import StepFailed
from loops.fingerprint import canonical, step_key
from loops.machine import peak
from loops.manifest import Manifest, inventory
from loops.progress import telling
from loops.provenance import code_hash, package_hash, provenance, runs_on
from loops.secrets import Hiding, hidden, sweep
from loops.shared import opened
from loops.stage import Stage, build, signature
from loops.store import Store


def work(path: Path) -> None:
    """Carry out the order in this file, unless its artifact has come to exist meanwhile.

    Raises:
        StepFailed: the stage raised; the traceback is in the order's log.
    """
    order = json.loads(path.read_text(encoding="utf-8"))
    log = Path(order["log"])
    log.parent.mkdir(parents=True, exist_ok=True)
    with stderr_to(log):
        try:
            stage, store = _stage(order), opened(Path(order["store"]), order.get("remote"))
            store.look([order["key"]])  # another machine may have made it meanwhile
            resumes = package_hash(type(stage)) if getattr(stage, "RESUMES", False) else None
            with store.claim(order["key"], resumes) as draft:
                if draft is not None:
                    _make(order, stage, store, draft)
        except Exception as failure:
            with suppress(OSError):  # the disk is full, perhaps
                traceback.print_exc()
            raise StepFailed(" ".join(hidden(f"{type(failure).__name__}: {failure}").split())) from None


def outcome(path: Path) -> str:
    """As ``work``, for a process on another machine: where the runner stands, and with why the step failed as words,
    which are empty if it did not."""
    try:
        os.chdir(json.loads(path.read_text(encoding="utf-8"))["place"])
        work(path)
    except StepFailed as failed:
        return str(failed)
    except OSError as missing:
        return f"{missing} on {platform.node()}: runs, store and where you stand must be there on every machine"
    return ""


def _stage(order: dict[str, Any]) -> Stage:
    """
    Raises:
        ValueError: it is not what was planned.
    """
    stage: Stage = build(order["stage"], order["step"])
    if step_key(stage, order["inputs"]) != order["key"]:
        raise ValueError("what it computes has changed since it was planned (a file, or the code); plan again")
    return stage


def _make(order: dict[str, Any], stage: Stage, store: Store, draft: Path) -> None:
    wanted = signature(stage)
    for name, key in order["inputs"].items():
        if store.fetch(key) is None:
            wrong = "; ".join(store.damage(key)) or "it is gone"
            raise ValueError(f"its input {name} is damaged: {store.path(key)}: {wrong}. The next run makes it again")
    inputs = {name: wanted.inputs[name](store.path(key)) for name, key in order["inputs"].items()}
    begun = time.monotonic()
    with telling(draft), peak() as memory:
        metrics = stage(**inputs, out=wanted.output(draft))
        taken = memory()
    seconds = time.monotonic() - begun
    foreseen = {"foreseen": order.get("foreseen", {}), "runs_on": runs_on(stage), "memory": taken}
    store.commit(
        draft,
        Manifest(
            key=order["key"],
            stage=canonical(stage),  # type: ignore[arg-type]
            inputs=order["inputs"],
            metrics=_finite(metrics),
            seconds=round(seconds, 3),
            provenance={**provenance(), **foreseen, "code": code_hash(type(stage))},
            files=inventory(draft),
        ),
    )


def _finite(metrics: Mapping[str, float]) -> dict[str, float]:
    """
    Raises:
        ValueError: a metric is NaN or infinite.
    """
    for name, value in metrics.items():
        if not math.isfinite(value):
            raise ValueError(f"the metric {name} is {value}: something was divided by nothing, or a model overflowed")
    return {name: float(value) for name, value in metrics.items()}


@contextmanager
def stderr_to(log: Path) -> Iterator[None]:
    """Send stderr to the log: Python's, and file descriptor 2, where compiled libraries write.

    Secrets are taken out: of what Python writes at once, of the rest when the step ends.
    """
    console = os.dup(2)
    with Hiding(log.open("ab"), encoding="utf-8", line_buffering=True) as file, redirect_stderr(file):
        os.dup2(file.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(console, 2)
            os.close(console)
            file.flush()
            sweep(log)


def _by_hand(path: Path) -> None:
    """Carry out the order for a person who watches."""
    from loops.lines import lines

    order = json.loads(path.read_text(encoding="utf-8"))
    with lines(Store(Path(order["store"])).drafts(order["key"])):
        work(path)


if __name__ == "__main__":
    try:
        _by_hand(Path(sys.argv[1]))
    except StepFailed as failed:
        sys.exit(str(failed))
