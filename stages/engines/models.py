"""Models in memory: on which device, in which precision, and those that were used last kept for the next step.

The one decision: precision belongs to the weights. Whoever makes a model says in which precision it is stored, as a
field, and everything that reads it computes in that one, so a scorer never rounds away what it is to score.
"""

import gc
import json
from collections.abc import Container
from functools import lru_cache
from pathlib import Path
from typing import Any

from stages.artifacts import Model
from stages.engines import ranks

_resident: dict[tuple[str, str, bool], Any] = {}


def best_device() -> str:
    """``cuda``, ``mps`` or ``cpu``."""
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def multiplies_bfloat16(device: str) -> bool:
    """Whether the hardware does: where bfloat16 is emulated it is several times slower than float32."""
    import torch

    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device == "cpu" and bool(torch.cpu.get_capabilities().get("amx_bf16"))


def load_model(model: Model, device: str | None = None, four_bits: bool = False) -> Any:
    """The model, ready for inference, in the precision that it is stored in; kept for the next call, and no other is.

    Weights that were stored in float32 are never rounded: one round's update is smaller than bfloat16 can tell.
    ``four_bits`` is for the reference of a training over a base in four bits, and for nobody else.
    """
    [loaded] = load_models(model, device=device, four_bits=four_bits)
    return loaded


def load_models(*models: Model, device: str | None = None, four_bits: bool = False) -> list[Any]:
    """Models that are used together, each likewise. Whatever else was kept is let go of before one is loaded, here and
    by processes that share models with this one, so that no more are in memory than are named."""
    wanted = [(str(model.path), device or best_device(), four_bits) for model in models]
    if set(wanted) != _resident.keys():
        let_go(but=wanted)
    for name in wanted:
        if name not in _resident:
            _resident[name] = _loaded(*name)
    return [_resident[name] for name in wanted]


def let_go(but: Container[Any] = ()) -> None:
    """Keep no model, neither here nor in processes that share models with this one, but for those that are named."""
    import torch

    from stages.engines import classifiers, tensor_parallel

    tensor_parallel.dismiss()
    classifiers.release()
    for name in [name for name in _resident if name not in but]:
        del _resident[name]
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def load_tokenizer(model: Model) -> Any:
    """The model's tokenizer with its chat template."""
    return _tokenizer(str(model.path))


def stored_dtype(model: Model) -> str | None:
    """The precision that the model's configuration names."""
    config = json.loads((model.path / "config.json").read_text(encoding="utf-8"))
    dtype: str | None = config.get("dtype", config.get("torch_dtype"))
    return dtype


def context(model: Model) -> int | None:
    """How many tokens the model can read, as its configuration says; None if it does not."""
    config = json.loads((model.path / "config.json").read_text(encoding="utf-8"))
    length: int | None = (config.get("text_config") or config).get("max_position_embeddings")
    return length


def release() -> None:
    """Give the memory of kept models back, and end vLLM, processes that share models, and workers on a Ray cluster."""
    from stages.engines import ray_pool, vllm_process

    ray_pool.dismiss()
    vllm_process.end()
    let_go()


def end_of_turn(model: Model) -> list[int]:
    """The token ids that end an answer, from the model's generation config.

    Raises:
        ValueError: the model does not say how its turns end.
    """
    from transformers import GenerationConfig

    ids = GenerationConfig.from_pretrained(model.path, local_files_only=True).eos_token_id
    if ids is None:
        raise ValueError(f"{model.path}: its generation_config.json names no eos_token_id, so no answer could ever end")
    return [ids] if isinstance(ids, int) else list(ids)


def check_precision(policy: Model, reference: Model) -> None:
    """
    Raises:
        ValueError: the two are stored in different precisions, so that their log-ratio would be rounding noise.
    """
    stored = [stored_dtype(policy), stored_dtype(reference)]
    if stored[0] != stored[1]:
        raise ValueError(
            f"the policy is stored in {stored[0]} and the reference in {stored[1]}: their log-ratio would be rounding "
            "noise. Give every source and training of the loop the same dtype (sizes.dtype)"
        )


def load_aside(model: Model, device: str) -> Any:
    """The model likewise, but kept by nobody."""
    return _loaded(str(model.path), device)


def _loaded(path: str, device: str, four_bits: bool = False) -> Any:
    from stages.engines.adapters import add_adapter, has_adapter, load_base
    from stages.engines.attention import attend_well

    model = Model(Path(path))
    loaded = load_base(model, "auto" if multiplies_bfloat16(device) else "float32", four_bits, ranks.size())
    if has_adapter(model):
        add_adapter(loaded, model.path)
    loaded = (loaded.to(device) if ranks.size() == 1 else loaded).eval().requires_grad_(False)
    attend_well(loaded)
    return loaded


@lru_cache(maxsize=2)
def _tokenizer(path: str) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(Path(path), local_files_only=True, trust_remote_code=False)
