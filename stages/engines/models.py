"""Models in memory: which device and precision, loading, and keeping the last two for the next step.

The one decision: steps that follow each other in one process and use the same weights share them; training asks for
the memory back first.
"""

from functools import lru_cache
from pathlib import Path
from typing import Any

from stages.artifacts import Model


def best_device() -> str:
    """``cuda``, ``mps`` or ``cpu``."""
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def best_dtype(device: str) -> str:
    """bfloat16 where the hardware multiplies it, else float32: emulated bfloat16 is several times slower."""
    import torch

    if device == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    return "bfloat16" if device == "cpu" and torch.cpu.get_capabilities().get("amx_bf16") else "float32"


def load_model(model: Model, device: str = "auto", dtype: str = "auto") -> Any:
    """The model, ready for inference; kept for the next call with the same arguments."""
    device = best_device() if device == "auto" else device
    return _resident(str(model.path), device, best_dtype(device) if dtype == "auto" else dtype)


def load_tokenizer(model: Model) -> Any:
    """The model's tokenizer with its chat template."""
    return _tokenizer(str(model.path))


def release() -> None:
    """Give the memory of kept models back."""
    import gc

    import torch

    _resident.cache_clear()
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


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


@lru_cache(maxsize=2)
def _resident(path: str, device: str, dtype: str) -> Any:
    import torch
    from transformers import AutoModelForCausalLM

    loaded = AutoModelForCausalLM.from_pretrained(Path(path), dtype=getattr(torch, dtype), local_files_only=True)
    return loaded.to(device).eval().requires_grad_(False)


@lru_cache(maxsize=2)
def _tokenizer(path: str) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(Path(path), local_files_only=True)
