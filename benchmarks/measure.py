"""How a claim is measured: side by side, in turns, medians, and a file that says on what machine and when.

The one decision: a figure is a ratio against something real in the same run, so that it means something on another
machine.
"""

import json
import os
import platform
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

RESULTS = Path(__file__).parent / "results"
REPEATS = 5
COLUMNS = ("name", "ours", "theirs", "unit", "ratio", "target", "repeats")


def in_turns(contestants: Mapping[str, Callable[[], float]]) -> dict[str, list[float]]:
    """Work a second of each, REPEATS times in turns, after one turn that is not counted. A run returns its work."""
    rates: dict[str, list[float]] = {name: [] for name in contestants}
    for repeat in range(REPEATS + 1):
        for name, run in contestants.items():
            begun = time.perf_counter()
            work = run()
            rates[name].append(work / (time.perf_counter() - begun))
        shown = "  ".join(f"{name} {of_one[-1]:.1f}/s" for name, of_one in rates.items())
        print(f"  {repeat}/{REPEATS}: {shown}", flush=True)
    return {name: of_one[1:] for name, of_one in rates.items()}


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
