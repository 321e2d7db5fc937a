"""vLLM's environment variables, where the user has set none."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

CACHE_SHARE = 8
"""On a CPU one part in so many of the machine's memory is for keys and values, where nobody says otherwise."""


def settings(devices: int = 1) -> dict[str, str]:
    """vLLM's settings where the user has none: quiet, offline, telling nobody, and on a CPU bound to every core, which
    the processes of so many ``devices`` share out among them."""
    cores = sorted(os.sched_getaffinity(0))
    shares = [cores[first::devices] for first in range(devices)]
    return {
        "HF_HUB_OFFLINE": "1",
        "VLLM_CONFIGURE_LOGGING": "0",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
        "VLLM_CPU_OMP_THREADS_BIND": "|".join(",".join(map(str, share)) for share in shares),
        "VLLM_CPU_KVCACHE_SPACE": str(max(1, _memory() // 2**30 // CACHE_SHARE)),
    }


@contextmanager
def environment(defaults: Mapping[str, str]) -> Iterator[None]:
    """These variables where they are not set, for whoever is started meanwhile, and nobody after."""
    added = {name: value for name, value in defaults.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


def _memory() -> int:
    """Bytes that this machine, or the container that we are in, has."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = Path("/sys/fs/cgroup/memory.max")
    said = limit.read_text().strip() if limit.is_file() else ""
    return min(machine, int(said)) if said.isdigit() else machine
