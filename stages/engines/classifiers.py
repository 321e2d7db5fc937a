"""Reward models in memory: sequence classifiers with one output."""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from stages.artifacts import RewardModel
from stages.engines import ranks
from stages.engines.shares import shared


def load_classifier(reward: RewardModel) -> tuple[Any, Any]:
    """The classifier, ready for inference, and its tokenizer; kept for the next call.

    Raises:
        ValueError: it has more than one output, or names no padding token.
    """
    return _resident(str(reward.path))


@lru_cache(maxsize=1)
def _resident(path: str) -> tuple[Any, Any]:
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    from stages.engines.models import best_device, let_go, multiplies_bfloat16

    let_go()
    model = AutoModelForSequenceClassification.from_pretrained(
        Path(path),
        dtype="auto",
        local_files_only=True,
        trust_remote_code=False,
        use_safetensors=True,
        **shared(Path(path), ranks.size()),
    )
    if model.config.num_labels != 1:
        raise ValueError(f"a reward model has one output, this one has {model.config.num_labels}")
    if model.config.get_text_config().pad_token_id is None:
        raise ValueError("the reward model's config names no pad_token_id, by which it finds where a text ends")
    if not multiplies_bfloat16(best_device()):
        model = model.to(torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(Path(path), local_files_only=True, trust_remote_code=False)
    return (model.to(best_device()) if ranks.size() == 1 else model).eval(), tokenizer


def release() -> None:
    """Keep none."""
    _resident.cache_clear()


def rewards(model: Any, sequences: Sequence[list[int]]) -> list[float]:
    """One number a sequence; sequences are padded on the right."""
    import torch

    pad, longest = model.config.get_text_config().pad_token_id, max(map(len, sequences))
    ids = torch.tensor([sequence + [pad] * (longest - len(sequence)) for sequence in sequences])
    mask = torch.tensor([[1] * len(sequence) + [0] * (longest - len(sequence)) for sequence in sequences])
    with torch.inference_mode():
        logits = model(input_ids=ids.to(model.device), attention_mask=mask.to(model.device)).logits
    found: list[float] = logits[:, 0].float().tolist()
    return found


def batches(lengths: Sequence[int], tokens: int) -> Iterator[list[int]]:
    """Indices grouped by similar length, longest first, each group at most ``tokens`` when padded (one at least)."""
    group: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda index: (-lengths[index], index)):
        if group and lengths[group[0]] * (len(group) + 1) > tokens:
            yield group
            group = []
        group.append(index)
    if group:
        yield group
