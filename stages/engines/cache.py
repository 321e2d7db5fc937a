"""The keys and values of a running batch: a transformers cache whose rows leave and join.

The one decision: every row ends at the last column and is padded on the left. So rows of any lengths share a batch, the
mask follows from the lengths alone, and columns in which no row has anything left are cut off.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def joinable(running: Any) -> bool:
    """Whether rows can join: not if some layer keeps a window or a state in place of every column."""
    from transformers.cache_utils import DynamicLayer

    return all(type(layer) is DynamicLayer for layer in running.layers)


def select(running: Any, rows: Sequence[int]) -> None:
    """Only these rows stay, in this order; one that is named twice is there twice."""
    import torch

    running.reorder_cache(torch.tensor(rows))


def trim(running: Any, columns: int) -> None:
    """Only the last columns stay."""
    for layer in running.layers:
        layer.keys, layer.values = layer.keys[:, :, -columns:], layer.values[:, :, -columns:]


def join(running: Any, fresh: Any) -> None:
    """Put the fresh rows, which have no more columns, below the others."""
    for layer, new in zip(running.layers, fresh.layers, strict=True):
        layer.keys, layer.values = _below(layer.keys, new.keys), _below(layer.values, new.values)


def _below(held: "torch.Tensor", new: "torch.Tensor") -> "torch.Tensor":
    import torch

    return torch.cat([held, torch.nn.functional.pad(new, (0, 0, held.shape[2] - new.shape[2], 0))])
