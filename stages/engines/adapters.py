"""Models whose weights are another model's and a low-rank update of them (LoRA, Hu et al., 2021, arXiv 2106.09685).

The one decision: a model with an adapter carries the model that it is over (``base``, a whole model, by hard links). So
it needs no other artifact, and who reads the base alone reads a model of its own. The update is kept in float32 and
computed beside the base: added to weights in bfloat16 it would be rounded away.
"""

import json
from pathlib import Path
from typing import Any

from stages.artifacts import Model
from stages.engines.shares import shared

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
PREFIX = "base_model.model."
"""What peft's files put before every name."""


def has_adapter(model: Model) -> bool:
    """Whether the model is a base and an update of it."""
    return (model.path / CONFIG).is_file()


def rank(model: Model) -> int:
    """That of the model's adapter; 0 if it has none."""
    return int(json.loads((model.path / CONFIG).read_text(encoding="utf-8"))["r"]) if has_adapter(model) else 0


def whole(model: Model) -> Model:
    """The model without its adapter: its base, or itself."""
    return Model(model.path / "base") if has_adapter(model) else model


def add_adapter(loaded: Any, folder: Path) -> None:
    """Let a loaded base compute with the adapter in this folder beside it."""
    from peft import LoraConfig

    loaded.add_adapter(LoraConfig.from_pretrained(folder))
    keep_float32(loaded)
    read_weights(loaded, folder)


def read_weights(loaded: Any, folder: Path) -> None:
    """Give a model that has an adapter the numbers of the one in this folder.

    Raises:
        ValueError: they are another adapter's.
    """
    from peft import set_peft_model_state_dict
    from safetensors.torch import load_file

    found = set_peft_model_state_dict(loaded, load_file(folder / WEIGHTS))
    missing = [name for name in found.missing_keys if "lora_" in name]
    if missing or found.unexpected_keys:
        raise ValueError(f"{folder / WEIGHTS} is of another adapter: {[*missing, *found.unexpected_keys][:3]} ...")


def keep_float32(loaded: Any) -> None:
    """What is trained is kept in float32, whatever the rest of the model is kept in."""
    for parameter in loaded.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()


def merged(base: Model, folder: Path) -> Any:
    """The whole weights, W + (α/r)·B·A in float32, on the CPU."""
    from peft import LoraConfig, get_peft_model

    both = get_peft_model(load_base(base, "float32"), LoraConfig.from_pretrained(folder))
    read_weights(both, folder)
    return both.merge_and_unload().requires_grad_(True)


def load_base(model: Model, dtype: str, four_bits: bool = False, devices: int = 1) -> Any:
    """The stored weights without an adapter, on the CPU; in four bits (QLoRA, arXiv 2305.14314) on the first GPU; or
    this process's share of them on its own device.

    Args:
        dtype: ``auto`` for the precision that they are stored in.
        devices: that share the weights, each with a process that calls this.

    Raises:
        ValueError: there is no CUDA device for four bits, or so many cannot share the model.
    """
    import torch
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    how = None
    if four_bits:
        if not torch.cuda.is_available():
            raise ValueError("four bits need a CUDA device, and there is none here: say adapter=lora or adapter=none")
        how = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.bfloat16,
        )
    return AutoModelForCausalLM.from_pretrained(
        whole(model).path,
        dtype=dtype,
        quantization_config=how,
        local_files_only=True,
        trust_remote_code=False,
        use_safetensors=True,
        **shared(whole(model).path, devices),
    )
