"""Reward models: sequence classifiers with one output, from the hub by pinned revision or from this machine."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from stages.artifacts import RewardModel
from stages.engines.finite import check_weights
from stages.foreseen import Foreseen, of_model
from stages.sources.adapter import refuse_adapter
from stages.sources.models import Dtype, directory_hash
from stages.sources.readable import readable
from stages.sources.revision import check_pinned
from stages.sources.shape import of_directory


@dataclass(frozen=True, kw_only=True)
class HubReward:
    """A reward model of the hub. See HubModel for the fields."""

    VERSION: ClassVar[int] = 1

    repo: str
    revision: str
    dtype: Dtype
    chat_template: str | None = None
    shape: dict[str, float] | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        check_pinned(self.repo, self.revision)

    def foresee(self) -> Foreseen:
        """The model, if its shape was said."""
        return of_model(self.shape, self.dtype)

    def __call__(self, *, out: RewardModel) -> Mapping[str, float]:
        """Download and keep classifier, tokenizer and template."""
        return keep(self.repo, out, self.dtype, self.chat_template, revision=self.revision)


@dataclass(frozen=True, kw_only=True)
class LocalReward:
    """A directory that ``transformers`` loads as a sequence classifier. See LocalModel for the fields."""

    VERSION: ClassVar[int] = 1

    path: str = field(compare=False)
    dtype: Dtype
    chat_template: str | None = None
    sha256: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "sha256", directory_hash(self.path))

    def foresee(self) -> Foreseen:
        """The model, as its headers say."""
        return of_model(of_directory(self.path), self.dtype)

    def __call__(self, *, out: RewardModel) -> Mapping[str, float]:
        """Keep classifier, tokenizer and template.

        Raises:
            ValueError: the directory was written to since it was planned.
        """
        kept = keep(self.path, out, self.dtype, self.chat_template, local_files_only=True)
        if directory_hash(self.path) != self.sha256:
            raise ValueError(f"{self.path} has changed since it was planned; plan again")
        return kept


def keep(name: str, out: RewardModel, dtype: Dtype, chat_template: str | None, **where: Any) -> Mapping[str, float]:
    """Load a classifier and save it as an artifact.

    Raises:
        ValueError: it cannot be read, has no chat template, not one output, or not all weights, each of them finite.
    """
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    with readable(name):
        refuse_adapter(name, **where)
        tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=False, **where)
    tokenizer.chat_template = chat_template or tokenizer.chat_template
    if tokenizer.chat_template is None:
        raise ValueError(f"{name} has no chat template; give one as chat_template")
    loaded = {"dtype": getattr(torch, dtype), "use_safetensors": True, "output_loading_info": True}
    with readable(name):
        model, info = AutoModelForSequenceClassification.from_pretrained(
            name, trust_remote_code=False, **loaded, **where
        )
    if model.config.num_labels != 1:
        raise ValueError(f"{name} has {model.config.num_labels} outputs; a reward model has one")
    if info["missing_keys"]:
        raise ValueError(f"{name} lacks {', '.join(sorted(info['missing_keys']))}; its rewards would be random numbers")
    if model.config.get_text_config().pad_token_id is None:
        model.config.get_text_config().pad_token_id = tokenizer.pad_token_id
    check_weights(model, name)
    model.save_pretrained(out.path)
    tokenizer.save_pretrained(out.path)
    return {"parameters": float(model.num_parameters())}
