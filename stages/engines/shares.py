"""A model's share for each of several devices, as transformers' ``from_pretrained`` is asked for it."""

from pathlib import Path
from typing import Any

COUNTED = ("num_attention_heads", "num_key_value_heads", "vocab_size")
"""What is shared out whole."""


def shared(folder: Path, devices: int) -> dict[str, Any]:
    """The words by which each of so many processes loads its own share; none for a single one.

    Raises:
        ValueError: the model cannot be shared by so many.
    """
    if devices == 1:
        return {}
    from transformers import AutoConfig
    from transformers.distributed import DistributedConfig

    config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False).get_text_config()
    if not config.base_model_tp_plan:
        raise ValueError(f"transformers has no plan by which devices share a {config.model_type}: score on one device")
    for name in COUNTED:
        count = getattr(config, name, None)
        if count and count % devices:
            raise ValueError(f"{devices} devices cannot share {count} {name}: take a divisor as engine.devices")
    return {"distributed_config": DistributedConfig(tp_size=devices)}
