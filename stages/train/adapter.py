"""Training a low-rank adapter in place of the weights: LoRA, and QLoRA over a base in four bits.

The one decision: what a round hands on is a model like any other, merged or not, and a reference is one too. So nobody
ever "disables the adapter" to get a reference, which from the second round on would be the wrong one.
"""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from stages.artifacts import Model


@dataclass(frozen=True, kw_only=True)
class LoRA:
    """W + (α/r)·B·A, of which A and B are trained; B begins at 0 (Hu et al., 2021, arXiv 2106.09685). There is no
    dropout: log-probs are compared with those of a reference.

    Args:
        r: columns of B and rows of A.
        alpha: α.
        targets: the linear layers that are adapted, by the last part of their names; all but the head if None.
        merged: hand on whole weights, in the training's ``dtype``, over which the next round begins with a new adapter.
            Otherwise base and adapter are handed on apart, and the next round goes on with the same adapter.
        four_bits: hold the base in four bits while training (QLoRA, arXiv 2305.14314), with a reference in four bits
            as well. The update is learned over the rounded base and handed on over the base as it is stored.
    """

    r: int
    alpha: float
    targets: tuple[str, ...] | None = None
    merged: bool = True
    four_bits: bool = False

    def __post_init__(self) -> None:
        if self.r < 1 or self.alpha <= 0:
            raise ValueError(f"r must be at least 1 and alpha above 0, not {self.r} and {self.alpha}")
        if self.targets == ():
            raise ValueError("targets names no layer; leave it out for all linear layers")
        for package in ("peft", "bitsandbytes") if self.four_bits else ("peft",):
            if find_spec(package) is None:
                extra = "qlora" if self.four_bits else "lora"
                raise ValueError(f"an adapter needs {package}: say pip install 'selfloop[{extra}]', or adapter=none")


def begin(loaded: Any, policy: Model, settings: LoRA, seed: int) -> None:
    """Give the policy's loaded base the adapter that is to be trained: its own, or a new one that changes nothing yet.

    Raises:
        ValueError: there is no such layer, or its own is of another shape.
    """
    import torch
    from peft import LoraConfig

    from stages.engines.adapters import add_adapter, has_adapter, keep_float32

    if has_adapter(policy):
        _check_same(policy.path, settings)
        add_adapter(loaded, policy.path)
        return
    layers = [name for name, module in loaded.named_modules() if isinstance(module, torch.nn.Linear)]
    for target in settings.targets or ():
        if not any(name == target or name.endswith(f".{target}") for name in layers):
            raise ValueError(f"targets: the model has no linear layer {target!r}; it has {_last_parts(layers)}")
    torch.manual_seed(seed)
    loaded.add_adapter(
        LoraConfig(
            task_type="CAUSAL_LM",
            r=settings.r,
            lora_alpha=settings.alpha,
            target_modules=list(settings.targets) if settings.targets else "all-linear",
        )
    )
    keep_float32(loaded)


def _check_same(folder: Path, settings: LoRA) -> None:
    from peft import LoraConfig

    held = LoraConfig.from_pretrained(folder)
    layers = sorted(held.target_modules)
    if (held.r, held.lora_alpha, layers) != (settings.r, settings.alpha, sorted(settings.targets or layers)):
        raise ValueError(
            f"the policy has an adapter with r={held.r}, alpha={held.lora_alpha}, targets={layers}, and training goes "
            "on with it: say the same numbers, or merged: true in the training that made it"
        )


def _last_parts(names: list[str]) -> list[str]:
    return sorted({name.rpartition(".")[2] for name in names})
