"""How a claim is measured: side by side, in turns, medians, and a file that says on what machine and when.

The one decision: a figure is a ratio against something real in the same run, so that it means something on another
machine.
"""

import json
import os
import platform
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from statistics import median

from omegaconf import OmegaConf

RESULTS = Path(__file__).parent / "results"
REPEATS = 5
COLUMNS = ("name", "ours", "theirs", "unit", "ratio", "target", "repeats")


Contestant = Callable[[], Callable[[], float]]
"""Prepares what is to be run, which returns how much work it did."""


def in_turns(contestants: Mapping[str, Contestant]) -> dict[str, list[float]]:
    """Work a second of each, REPEATS times in turns, after one turn that is not counted.

    Each lives in a process of its own; that of ``ours`` has the environment of a worker (conf/executor/local.yaml), the
    others that of a script.
    """
    with ExitStack() as stack:
        pools = {name: stack.enter_context(_process(name == "ours")) for name in contestants}
        rates: dict[str, list[float]] = {name: [] for name in contestants}
        for repeat in range(REPEATS + 1):
            for name, prepare in contestants.items():
                rates[name].append(pools[name].submit(_turn, prepare).result())
            shown = "  ".join(f"{name} {of_one[-1]:.1f}/s" for name, of_one in rates.items())
            print(f"  {repeat}/{REPEATS}: {shown}", flush=True)
    return {name: of_one[1:] for name, of_one in rates.items()}


@contextmanager
def workers_environment(on: bool = True) -> Iterator[None]:
    """Processes that are started meanwhile have the environment of a worker."""
    conf = OmegaConf.load(Path(__file__).parent.parent / "conf/executor/local.yaml")
    before = dict(os.environ)
    os.environ.update({**dict(conf.environment), **before} if on else {})
    try:
        yield
    finally:
        for name in os.environ.keys() - before.keys():
            del os.environ[name]


@contextmanager
def _process(as_worker: bool) -> Iterator[ProcessPoolExecutor]:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        with workers_environment(as_worker):
            pool.submit(synchronise).result()
        yield pool


_prepared = cache(lambda prepare: prepare())


def _turn(prepare: Contestant) -> float:
    run = _prepared(prepare)
    begun = time.perf_counter()
    work = run()
    synchronise()
    return work / (time.perf_counter() - begun)


def synchronise() -> None:
    """Wait for the accelerator, if there is one."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()


def report(name: str, *, target: str, unit: str, ours: list[float], theirs: list[float]) -> None:
    """Print the medians and their ratio, ours to theirs, and write ``results/<name>.json``; values are in the unit.

    The target says in words of what: ``ratio ≥ 3`` or ``ours ≤ 60``.
    """
    found = {
        "name": name,
        "ratio": round(median(ours) / median(theirs), 3),
        "target": target,
        "unit": unit,
        "ours": _shown(ours),
        "theirs": _shown(theirs),
        "repeats": len(ours),
        "machine": machine(),
        "date": datetime.now(UTC).date().isoformat(),
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(table([found]))


def table(results: list[Mapping[str, object]]) -> str:
    """Results as lines of a Markdown table."""
    lines = ["| " + " | ".join(COLUMNS) + " |", "|---" * len(COLUMNS) + "|"]
    for one in results:
        lines.append("| " + " | ".join(str(one[name]) for name in COLUMNS) + " |")
    return "\n".join(lines)


def machine() -> str:
    """The processor, the cores that this process may use, the accelerator if there is one, and what matters here."""
    import torch

    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if Path("/proc/cpuinfo").exists() else []
    model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    if torch.cuda.is_available():
        return f"{torch.cuda.get_device_name()}, {model}, {cores} cores"
    amx = torch.cpu.get_capabilities().get("amx_bf16")
    return f"{model}, {cores} cores, {'AMX' if amx else 'no AMX'}"


def _shown(values: list[float]) -> float:
    return float(f"{median(values):.4g}")
