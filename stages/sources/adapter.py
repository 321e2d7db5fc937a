"""Adapters as they are published: refused, since their weights are another model's, which nobody pinned."""

from typing import Any


def refuse_adapter(name: str, **where: Any) -> None:
    """
    Raises:
        ValueError: it is an adapter, for which transformers would load whatever base it names, and pickles too.
    """
    from transformers.utils import find_adapter_config_file

    if find_adapter_config_file(name, **where) is not None:
        raise ValueError("it is an adapter and no whole model; merge it into its base (peft's merge_and_unload) first")
