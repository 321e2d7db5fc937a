"""Models, prompts and pairs from the Hugging Face hub, by pinned revision.

The one decision: a revision has no default and must be a commit, so that a recipe means the same next year.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from stages.artifacts import Model, Pairs, Prompts
from stages.sources.rows import check_columns, converted, selected


@dataclass(frozen=True, kw_only=True)
class HubModel:
    """A causal language model of the hub, as it is, with safetensors and never with code of its own.

    Args:
        repo: such as ``HuggingFaceH4/zephyr-7b-beta``.
        revision: the commit, 40 hexadecimal digits.
        chat_template: a Jinja template in place of the repository's.
        end_of_turn: the token ids that end an answer, in place of the repository's.
    """

    VERSION: ClassVar[int] = 1

    repo: str
    revision: str
    chat_template: str | None = None
    end_of_turn: list[int] | None = None

    def __post_init__(self) -> None:
        check_revision(self.revision)

    def __call__(self, *, out: Model) -> Mapping[str, float]:
        """Download and keep model, tokenizer and template."""
        from transformers import AutoModelForCausalLM, AutoTokenizer

        pinned: dict[str, Any] = {"revision": self.revision, "trust_remote_code": False}
        model = AutoModelForCausalLM.from_pretrained(self.repo, dtype="auto", use_safetensors=True, **pinned)
        tokenizer = AutoTokenizer.from_pretrained(self.repo, **pinned)
        if self.chat_template is not None:
            tokenizer.chat_template = self.chat_template
        if self.end_of_turn is not None:
            model.generation_config.eos_token_id = self.end_of_turn
        if tokenizer.chat_template is None:
            raise ValueError(f"{self.repo} has no chat template; give one as chat_template")
        model.save_pretrained(out.path)
        tokenizer.save_pretrained(out.path)
        return {"parameters": model.num_parameters()}


@dataclass(frozen=True, kw_only=True)
class HubPrompts:
    """Prompts of a data set of the hub. See LocalPrompts for the other fields."""

    VERSION: ClassVar[int] = 1

    repo: str
    revision: str
    split: str
    subset: str | None = None
    columns: dict[str, str] = field(default_factory=lambda: {"prompt": "prompt"})
    skip: int = 0
    limit: int | None = None
    shuffle: int | None = None

    def __post_init__(self) -> None:
        check_revision(self.revision)
        check_columns(self.columns, "prompts")

    def __call__(self, *, out: Prompts) -> Mapping[str, float]:
        """Every selected row."""
        rows = selected(_dataset(self), self.skip, self.limit, self.shuffle)
        return {"prompts": out.write(converted(rows, self.columns, f"{self.repo} {self.split}"))}


@dataclass(frozen=True, kw_only=True)
class HubPairs:
    """Preference pairs of a data set of the hub. See LocalPairs for the other fields."""

    VERSION: ClassVar[int] = 1

    repo: str
    revision: str
    split: str
    subset: str | None = None
    columns: dict[str, str] = field(
        default_factory=lambda: {"prompt": "prompt", "chosen": "chosen", "rejected": "rejected"}
    )
    skip: int = 0
    limit: int | None = None
    shuffle: int | None = None

    def __post_init__(self) -> None:
        check_revision(self.revision)
        check_columns(self.columns, "pairs")

    def __call__(self, *, out: Pairs) -> Mapping[str, float]:
        """Every selected row."""
        rows = selected(_dataset(self), self.skip, self.limit, self.shuffle)
        return {"pairs": out.write(converted(rows, self.columns, f"{self.repo} {self.split}"))}


def check_revision(revision: str) -> None:
    """
    Raises:
        ValueError: it is a branch or a tag, which may come to mean something else.
    """
    if not re.fullmatch(r"[0-9a-f]{40}", revision):
        raise ValueError(f"revision must be a commit (40 hexadecimal digits), not {revision!r}; a branch or tag moves")


def _dataset(source: HubPrompts | HubPairs) -> Any:
    from datasets import load_dataset

    return load_dataset(source.repo, source.subset, split=source.split, revision=source.revision)
