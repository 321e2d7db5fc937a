"""What a training leaves: a whole model, or a base with an adapter.

The one decision: weights come as a plain table of tensors, wherever they lay while they were trained.
"""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.artifacts import Model

if TYPE_CHECKING:
    from stages.train.training import Training


def save(model: Any, weights: dict[str, Any], settings: "Training", policy: Model, out: Model) -> None:
    """Save the weights in the precision that was asked for, with the policy's tokenizer and way to end a turn.

    Args:
        model: what was trained; its weights may lie on many devices.
        weights: all of them, by name.

    Raises:
        ValueError: a weight is not finite; nothing is saved.
    """
    import torch

    from stages.engines.adapters import merged, whole
    from stages.engines.models import end_of_turn

    if settings.adapter is None:
        _save_whole(_filled(model.config, weights, settings.dtype), policy, out)
    elif settings.adapter.merged:
        _save_adapter(model, weights, out.scratch)
        _save_whole(merged(whole(policy), out.scratch).to(getattr(torch, settings.dtype)), policy, out)
    else:
        _save_adapter(model, weights, out.path)
        _save_base(policy, out)
    assert end_of_turn(out) == end_of_turn(policy), "training must not change how a turn ends"


def _filled(config: Any, weights: dict[str, Any], dtype: str) -> Any:
    """A model of these weights, on the CPU."""
    import torch
    from accelerate import init_empty_weights
    from transformers import AutoModelForCausalLM

    with init_empty_weights():
        model = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    model.load_state_dict(
        {name: weight.to("cpu", getattr(torch, dtype)) for name, weight in weights.items()}, assign=True
    )
    model.tie_weights()
    return model


def _save_whole(model: Any, policy: Model, out: Model) -> None:
    from transformers import GenerationConfig

    from stages.engines.finite import check_weights
    from stages.engines.models import load_tokenizer

    check_weights(model, "the trained model")
    model.generation_config = GenerationConfig.from_pretrained(policy.path, local_files_only=True)
    model.save_pretrained(out.path)
    load_tokenizer(policy).save_pretrained(out.path)


def _save_adapter(model: Any, weights: dict[str, Any], folder: Path) -> None:
    """The adapter as peft reads it. Which base it is over does not stand in it: that lies beside it."""
    from peft import get_peft_model_state_dict
    from safetensors.torch import save_file

    from stages.engines.adapters import PREFIX, WEIGHTS
    from stages.engines.finite import check_numbers

    trained = get_peft_model_state_dict(model, state_dict=weights)
    check_numbers(trained, "the trained adapter")
    save_file({PREFIX + name: weight.cpu().contiguous() for name, weight in trained.items()}, folder / WEIGHTS)
    config = model.peft_config["default"]
    config.base_model_name_or_path, config.target_modules = None, sorted(config.target_modules)
    config.save_pretrained(folder)


def _save_base(policy: Model, out: Model) -> None:
    """The base as a whole model of its own, and what everything reads of a model but its weights."""
    from stages.engines.adapters import whole
    from stages.engines.handing_on import hand_on
    from stages.engines.models import load_tokenizer

    base = whole(policy)
    hand_on(base, out.path / "base")
    for name in ("config.json", "generation_config.json"):
        shutil.copyfile(base.path / name, out.path / name)
    load_tokenizer(policy).save_pretrained(out.path)
