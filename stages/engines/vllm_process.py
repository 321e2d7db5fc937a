"""The one vLLM of a worker process: started, shared by the steps that use the same weights, and ended.

The one decision: vLLM never gives memory back while it lives, so it runs in processes of its own and is ended for it.
Weights of another model are swapped in only if the model then says what the stored one says (`vllm_probe`); where that
cannot be had, vLLM is started anew, which is always right. Nothing is kept in it: whoever kills it loses nothing.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import active_children
from multiprocessing.util import Finalize
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.artifacts import Model
from stages.engines.adapters import rank, whole
from stages.engines.handing_on import same_files
from stages.engines.models import best_device, release, stored_dtype
from stages.engines.vllm_settings import environment, settings

if TYPE_CHECKING:
    from stages.engines.vllm import VLLM

RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""Those of adapters that vLLM can be started for."""


@dataclass(kw_only=True)
class _Living:
    llm: Any
    path: str
    options: "VLLM"
    rank: int
    adapters: dict[str, int] = field(default_factory=dict)


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


def adapter_of(model: Model) -> Any:
    """How the living vLLM is asked for the model's adapter over its base; None if the model has none."""
    from vllm.lora.request import LoRARequest

    if not rank(model):
        return None
    assert _living is not None
    path = str(model.path.resolve())
    number = _living.adapters.setdefault(path, len(_living.adapters) + 1)
    return LoRARequest(lora_name=str(number), lora_int_id=number, lora_path=path)


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
    base, wanted = whole(model), rank(model)
    path = str(base.path.resolve())
    if _living is None or _living.options != options or wanted > _living.rank or not _holds(_living, base):
        room = next((size for size in (0, *RANKS) if wanted <= size), None)
        if room is None:
            raise ValueError(
                f"vLLM takes adapters of rank {RANKS[-1]} at most, not {wanted}: say engine=hf or adapter.merged=true"
            )
        release()
        _living = _Living(llm=_start(base, options, room), path=path, options=options, rank=room)
    _living.path = path
    return _living


def _holds(living: _Living, base: Model) -> bool:
    """Whether it has these weights, or could be given them. One that was started for adapters is not given others."""
    path = base.path.resolve()
    return living.path == str(path) or same_files(Path(living.path), path) or (not living.rank and _swap(living, base))


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


def _start(model: Model, options: "VLLM", rank: int) -> Any:
    device = best_device()
    with environment(settings(options.devices)):
        from vllm import LLM

        llm = LLM(
            str(model.path.resolve()),
            generation_config="vllm",
            dtype=stored_dtype(model) or "float32",
            max_model_len=options.context,
            max_num_seqs=options.rows,
            **({"enable_lora": True, "max_lora_rank": rank} if rank else {}),
            gpu_memory_utilization=options.memory,
            tensor_parallel_size=options.tensor_parallel,
            pipeline_parallel_size=options.pipeline_parallel,
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
