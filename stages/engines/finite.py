"""Weights that are no numbers, found where weights come to exist: when a model is read, and after training."""

from collections.abc import Mapping
from typing import Any


def check_weights(model: Any, where: str) -> None:
    """See check_numbers, of a model's parameters and buffers."""
    check_numbers(
        {name: weight.detach() for name, weight in [*model.named_parameters(), *model.named_buffers()]}, where
    )


def check_numbers(weights: Mapping[str, Any], where: str) -> None:
    """
    Args:
        where: which model this is, and at which point, for the message.

    Raises:
        ValueError: a weight is NaN or infinite, so that everything the model says would be noise.
    """
    for name, weight in weights.items():
        if weight.is_floating_point() and not bool(weight.isfinite().all()):
            raise ValueError(
                f"{where}: {int((~weight.isfinite()).sum())} of {weight.numel()} numbers of {name} are not finite. "
                "Likely causes: a training that diverged (learning rate), a precision too narrow for these weights "
                "(dtype), or a damaged file"
            )
