"""The one vLLM of a worker process: started, shared by the steps that use the same weights, and ended.

The one decision: vLLM never gives memory back while it lives, so it runs in processes of its own and is ended for it.
Weights of another model are swapped in only if the model then says what the stored one says (`vllm_probe`); where that
cannot be had, vLLM is started anew, which is always right. Nothing is kept in it: whoever kills it loses nothing.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import active_children
from multiprocessing.util import Finalize
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.artifacts import Model
from stages.engines.models import best_device, release, stored_dtype

if TYPE_CHECKING:
    from stages.engines.vllm import VLLM

CACHE_SHARE = 8
"""On a CPU one part in so many of the machine's memory is for keys and values, where nobody says otherwise."""


@dataclass(kw_only=True)
class _Living:
    llm: Any
    path: str
    options: "VLLM"


_living: _Living | None = None


@contextmanager
def living(model: Model, options: "VLLM") -> Iterator[Any]:
    """vLLM with this model's weights, started if need be. One that has died, or was left with work, is ended.

    Yields:
        vLLM's own ``LLM``.
    """
    llm = _with_weights(model, options).llm
    try:
        yield llm
    except BaseException as failed:
        from vllm.v1.engine.exceptions import EngineDeadError

        if isinstance(failed, EngineDeadError) or llm.llm_engine.has_unfinished_requests():
            end()
        raise


def end() -> None:
    """End vLLM's processes, if there are any, and with them their memory."""
    global _living
    ended, _living = _living, None
    if ended is not None:
        ended.llm.llm_engine.engine_core.shutdown()
        for process in active_children():  # one that had to be killed is not yet gone when the shutdown returns
            if process.name.startswith("EngineCore"):
                process.join(timeout=60)


def _with_weights(model: Model, options: "VLLM") -> _Living:
    global _living
    path = str(model.path.resolve())
    if _living is None or _living.options != options or (_living.path != path and not _swap(_living, model)):
        release()
        _living = _Living(llm=_start(model, options), path=path, options=options)
    _living.path = path
    return _living


def _swap(living: _Living, model: Model) -> bool:
    """Whether another model's weights could be put into the living vLLM. If not it may hold anything, and must end."""
    from stages.engines.vllm_probe import alike, log_probs_of, says_the_same

    if not alike(living.path, model):
        return False
    living.path = ""  # whatever interrupts this leaves weights that are nobody's
    try:
        before = log_probs_of(living.llm)
        living.llm.collective_rpc("reload_weights", kwargs={"weights_path": str(model.path.resolve())})
        if not living.llm.reset_prefix_cache():
            return False
        return says_the_same(log_probs_of(living.llm), model, before)
    except Exception:  # whatever went wrong in vLLM, one that is started anew does not have it
        return False


def _start(model: Model, options: "VLLM") -> Any:
    device = best_device()
    with _environment(settings()):
        from vllm import LLM

        llm = LLM(
            str(model.path.resolve()),
            generation_config="vllm",
            dtype=stored_dtype(model) or "float32",
            max_model_len=options.context,
            max_num_seqs=options.rows,
            gpu_memory_utilization=options.memory,
            enforce_eager=device == "cpu" if options.eager is None else options.eager,
            # A prompt that is passed in two halves makes vLLM turn back a seeded stream, which dies on a CPU.
            enable_chunked_prefill=None if device == "cuda" else False,
            worker_extension_cls="stages.engines.vllm_guard.Guard",
        )
    Finalize(None, end, exitpriority=100)  # before the interpreter waits for vLLM's processes to end by themselves
    try:
        llm.collective_rpc("end_with", args=(os.getpid(),))
    except BaseException:
        llm.llm_engine.engine_core.shutdown()
        raise
    return llm


def settings() -> dict[str, str]:
    """vLLM's settings where the user has none: quiet, offline, telling nobody, and on a CPU bound to every core."""
    return {
        "HF_HUB_OFFLINE": "1",
        "VLLM_CONFIGURE_LOGGING": "0",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
        "VLLM_CPU_OMP_THREADS_BIND": ",".join(map(str, sorted(os.sched_getaffinity(0)))),
        "VLLM_CPU_KVCACHE_SPACE": str(max(1, _memory() // 2**30 // CACHE_SHARE)),
    }


@contextmanager
def _environment(defaults: Mapping[str, str]) -> Iterator[None]:
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
