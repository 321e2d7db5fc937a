"""The machine that steps run on: what it is called, how much memory a device has, and how much of it a step took.

The one decision: two machines of one kind are one, for their times can be compared. So a machine is called by its
processor, the cores that may be used and its GPUs, and by nothing that is its owner's. Nothing heavy is imported.
"""

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup/memory.max")
CLEAR, STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")
RESET_PEAK = "5"
"""What Linux is told for the peak of a process's memory to be counted anew (man 5 proc)."""


@cache
def name() -> str:
    """Such as ``Intel(R) Xeon(R) Processor, 2 cores`` or ``AMD EPYC, 64 cores, 8 x NVIDIA H100``."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    cards = [card for card, _ in gpus()]
    many = [f"{cards.count(card)} x {card}" for card in dict.fromkeys(cards)]
    return ", ".join([_processor(), f"{cores} cores", *many])


@cache
def gpus() -> list[tuple[str, int]]:
    """Name and bytes of memory of every NVIDIA GPU that this process may use; none where no driver tells."""
    if shutil.which("nvidia-smi") is None or os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return []
    asked = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader,nounits"]
    try:
        told = subprocess.run(asked, capture_output=True, text=True, timeout=10, check=True).stdout
        lines = [line.rpartition(",") for line in told.splitlines()]
        return _visible([(card.strip(), int(mebibytes) * 2**20) for card, _, mebibytes in lines])
    except (OSError, ValueError, subprocess.SubprocessError):
        return []


def _visible(cards: list[tuple[str, int]]) -> list[tuple[str, int]]:
    """Those that CUDA_VISIBLE_DEVICES names, by number; of those that it names otherwise, as many."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is None:
        return cards
    names = named.split(",")
    numbers = [int(name) for name in names if name.strip().isdigit()]
    return [cards[number] for number in numbers if number < len(cards)] if numbers else cards[: len(names)]


def memory() -> tuple[int, str]:
    """Bytes that a step can have at most on the device that it runs on, and what they are called: those of the largest
    GPU, else memory and swap, or what the container may take."""
    if gpus():
        card, most = max(gpus(), key=lambda gpu: gpu[1])
        return most, f"of one {card}"
    import psutil

    whole = psutil.virtual_memory().total + psutil.swap_memory().total
    with suppress(OSError, ValueError):  # "max" where there is no limit
        whole = min(whole, int(CGROUP.read_text()))
    return whole, "of this machine's memory"


@contextmanager
def peak() -> Iterator[Callable[[], int | None]]:
    """The peak of this process's memory meanwhile, in bytes: on the GPU if torch has used one, else all that is
    resident, what steps before have left among it. None where it cannot be counted anew.

    What runs in a process of its own, such as vLLM, is not seen.
    """
    torch, counted = sys.modules.get("torch"), _counted_anew()
    on_gpu = torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized()
    if torch is not None and on_gpu:
        torch.cuda.reset_peak_memory_stats()
    yield lambda: _on_gpu() or (_resident() if counted else None)


def _on_gpu() -> int:
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available() or not torch.cuda.is_initialized():
        return 0
    return int(max(torch.cuda.max_memory_allocated(place) for place in range(torch.cuda.device_count())))


def _counted_anew() -> bool:
    try:
        CLEAR.write_text(RESET_PEAK)
    except OSError:
        return False
    return True


def _resident() -> int | None:
    lines = STATUS.read_text().splitlines()
    told = next((line.split()[1] for line in lines if line.startswith("VmHWM:")), None)
    return int(told) * 1024 if told else None


def _processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
