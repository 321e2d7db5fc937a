"""How the planner, the store and the runner grow to 100,000 steps: ``python -m benchmarks.scale_sim [STEPS ...]``.

The one decision: only the stages are synthetic. Each step of a chain of rounds tells 100 numbers, so that 100,000
steps leave 10,000,000 rows of metadata. Planner, orders, claims, flushes, manifests and links are those of every run,
and each size is a process of its own in an empty store. Times are the process's own on a CPU, so that waiting for what
else the machine does does not count; a disk's flushes are beside them. ``ours`` is what a step takes at the largest
size, ``theirs`` what it takes at a tenth of it: growth is linear where the ratio is 1. What Python's garbage collector
takes is counted with it, and told apart for ``ordered``, beside which the same keys go through a plain dictionary.
"""

import gc
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

from benchmarks.measure import RESULTS, machine, report

ROOT = Path(__file__).parents[1]
STEPS = (1_000, 10_000, 100_000)
PARTS = (10_000, 100_000)
NODES, NUMBERS, WORKERS = 100, 100, 64
"""Nodes of a round, numbers that a step tells, and how many steps are taken at once from what waits."""


class Rows:
    """An artifact of one small file."""

    def __init__(self, path: Path) -> None:
        self.path = path


@dataclass(frozen=True, kw_only=True)
class Tell:
    """Writes a line, and tells ``NUMBERS`` numbers."""

    VERSION: ClassVar[int] = 1

    node: int
    round: int

    def __call__(self, *, one: Rows | None = None, other: Rows | None = None, out: Rows) -> Mapping[str, float]:
        """Whatever was read."""
        (out.path / "row.txt").write_text(f"{self.round} {self.node}\n", encoding="utf-8")
        return {f"number_{place:03d}": self.round + place / NUMBERS for place in range(NUMBERS)}


def main() -> None:
    """Measure every size, and write how a step's price grew."""
    sizes = [int(word) for word in sys.argv[1:]] or STEPS
    found = [_child(steps) for steps in sizes]
    looked = [_looked(parts) for parts in PARTS]
    described = {"machine": machine(), "date": datetime.now(UTC).date().isoformat(), "sizes": found, "parts": looked}
    (RESULTS / "scale").mkdir(parents=True, exist_ok=True)
    (RESULTS / "scale" / "steps.json").write_text(json.dumps(described, indent=1) + "\n", encoding="utf-8")
    few, many = (next(each for each in found if each["steps"] == size) for size in (sizes[-1] // 10, sizes[-1]))
    for name in ("planned", "ordered", "tabled", "made", "seen", "listed"):
        ours, theirs = ([1e3 * each[name] / each["steps"]] for each in (many, few))
        unit = f"CPU ms a step of {many['steps']:,.0f}, against {few['steps']:,.0f}"
        report(f"scale_{name}", target="ratio ≤ 1.5", unit=unit, ours=ours, theirs=theirs)
    ours, theirs = ([1e6 * each["looked"] / each["parts"]] for each in (looked[-1], looked[-2]))
    unit = f"CPU µs a file of an artifact of {PARTS[-1]:,} files, against {PARTS[-2]:,}"
    report("scale_files", target="ratio ≤ 1.5", unit=unit, ours=ours, theirs=theirs)


def _looked(parts: int) -> dict[str, float]:
    """Seconds of one look at an artifact of so many files, as the plan and the runner take it of every step."""
    from loops.manifest import MANIFEST, Manifest, inventory
    from loops.store import Store

    found: dict[str, float] = {"parts": parts}
    with tempfile.TemporaryDirectory() as folder:
        place = Store(Path(folder)).path("ab")
        place.mkdir(parents=True)
        for part in range(parts):
            (place / f"part-{part:05d}.parquet").write_bytes(b"rows")
        told = Manifest(key="ab", stage={}, inputs={}, metrics={}, seconds=1.0, provenance={}, files=inventory(place))
        (place / MANIFEST).write_text(json.dumps(vars(told)), encoding="utf-8")
        assert _timed(found, "looked", lambda: Store(Path(folder)).read("ab")) is not None
    print(f"  {parts:,} files looked at in {found['looked']:.3f} s", flush=True)
    return found


def _child(steps: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "benchmarks.scale_sim", "--child", folder, str(steps)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "SELFLOOP_TRUST": "benchmarks", "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    print("  " + "  ".join(f"{name} {value:,.4g}" for name, value in found.items()), flush=True)
    return found


def _measured(folder: Path, steps: int) -> dict[str, float]:
    """Seconds of planning (``planned``), of choosing what comes next (``ordered``, of which ``collected`` by Python's
    collector), of its keys going into a dictionary and out of it (``tabled``), of making every step (``made``), of a
    run that finds them all there (``seen``) and of listing the store (``listed``), and what is left on disk."""
    from loops.executors import Inline
    from loops.plan import unroll
    from loops.recipe import load
    from loops.runner import Runner
    from loops.store import Store
    from loops.tracker import Silent

    found: dict[str, float] = {"steps": steps, "rows": steps * NUMBERS}
    plan = _timed(found, "planned", lambda: unroll(load(_recipe(steps // NODES))))
    assert len(plan.steps) == steps + 1, len(plan.steps)
    found["planned_gb"] = _peak()
    with _collecting() as collected:
        _timed(found, "ordered", lambda: _drained(plan))
    found["collected"] = round(sum(collected), 6)
    _timed(found, "tabled", lambda: _tabled(plan))
    store = Store(folder / "store")
    runner = Runner(store, Inline(), [Silent()], folder / "run")
    _timed(found, "made", lambda: runner.run(plan))
    _timed(found, "seen", lambda: runner.run(plan))
    listed = _timed(found, "listed", lambda: len(store.keys()))
    assert listed == steps + 1
    found["gb"] = _peak()
    found["disk_gb"] = sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if not path.is_symlink()) / 1e9
    return found


def _recipe(rounds: int) -> Any:
    """Rounds of pairs of nodes, each pair behind its policy and the second of the pair before, as a configuration."""
    from omegaconf import OmegaConf

    stage = {"_target_": "benchmarks.scale_sim.Tell", "round": "${number}"}
    nodes: dict[str, Any] = {}
    for place in range(0, NODES - 2, 2):
        nodes[f"sample_{place}"] = {"stage": {**stage, "node": place}, "inputs": {"one": "policy"}}
        before = {"other": f"score_{place - 2}"} if place else {}
        inputs = {"one": f"sample_{place}", **before}
        nodes[f"score_{place}"] = {"stage": {**stage, "node": place + 1}, "inputs": inputs}
    last = {"one": "policy", "other": f"score_{NODES - 4}"}
    nodes["train"] = {"stage": {**stage, "node": NODES - 2}, "inputs": last}
    nodes["probe"] = {"stage": {**stage, "node": NODES - 1}, "inputs": {"one": "train"}}
    first = {"start": {"stage": {"_target_": "benchmarks.scale_sim.Tell", "node": -1, "round": 0}}}
    carry = {"policy": {"init": "start", "next": "train"}}
    return OmegaConf.create(
        {"name": "scale", "rounds": rounds, "number": 0, "setup": first, "carry": carry, "round": nodes}
    )


def _drained(plan: Any) -> None:
    """Take every step from what waits, WORKERS at once, each after what it reads."""
    from loops.waiting import Waiting

    waiting, count = Waiting({key: steps[0] for key, steps in plan.places().items()}, ()), 0
    while taken := waiting.take(WORKERS, lambda step: True):
        count += len(taken)
        for step in taken:
            waiting.finished(step.key)
    assert count == len(plan.places())


def _tabled(plan: Any) -> None:
    """Put every step into a dictionary by its key, and take it out again: what memory's own growth costs."""
    table = {step.key: step for step in plan.steps}
    for step in plan.steps:
        table.pop(step.key)


@contextmanager
def _collecting() -> Iterator[list[float]]:
    """When Python's garbage collector began to work meanwhile (negative) and when it ended: the sum is its seconds."""
    spent: list[float] = []

    def note(phase: str, _: Mapping[str, int]) -> None:
        spent.append(time.process_time() * (-1 if phase == "start" else 1))

    gc.callbacks.append(note)
    try:
        yield spent
    finally:
        gc.callbacks.remove(note)


def _timed(found: dict[str, float], name: str, do: Callable[[], Any]) -> Any:
    begun = time.process_time()
    made = do()
    found[name] = round(time.process_time() - begun, 6)
    return made


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        print(json.dumps(_measured(Path(sys.argv[2]), int(sys.argv[3]))))
    else:
        main()
