"""Models as they are published or as they lie on this machine.

The one decision: a model enters the loop in the precision that the recipe names, with the chat template and the
end-of-turn ids that everything after it will use, so nothing downstream has to ask where it came from.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

from stages.artifacts import Model
from stages.engines.finite import check_weights
from stages.files import file_hash
from stages.foreseen import Foreseen, of_model
from stages.sources.adapter import refuse_adapter
from stages.sources.readable import readable
from stages.sources.revision import check_pinned
from stages.sources.shape import of_directory

Dtype = Literal["float32", "bfloat16"]
WANTED = ("*.json", "*.safetensors", "*.jinja", "*.model", "*.txt")
OURS = ("manifest.json", "lineage.json")


@dataclass(frozen=True, kw_only=True)
class HubModel:
    """A causal language model of the hub, with safetensors and never with code of its own.

    Args:
        repo: such as ``HuggingFaceH4/zephyr-7b-beta``.
        revision: the commit, 40 hexadecimal digits.
        dtype: of the weights that are kept.
        chat_template: a Jinja template in place of the repository's.
        end_of_turn: the token ids that end an answer, in place of the repository's.
        shape: parameters, layers and widths, see Size in stages/foreseen.py, for ``plan``; not part of the identity.
    """

    VERSION: ClassVar[int] = 1

    repo: str
    revision: str
    dtype: Dtype
    chat_template: str | None = None
    end_of_turn: list[int] | None = None
    shape: dict[str, float] | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        check_pinned(self.repo, self.revision)

    def foresee(self) -> Foreseen:
        """The model, if its shape was said."""
        return of_model(self.shape, self.dtype)

    def __call__(self, *, out: Model) -> Mapping[str, float]:
        """Download and keep model, tokenizer and template."""
        return keep(self.repo, out, self.dtype, self.chat_template, self.end_of_turn, revision=self.revision)


@dataclass(frozen=True, kw_only=True)
class LocalModel:
    """A directory that ``transformers`` loads, with safetensors. See HubModel for the other fields.

    Args:
        path: where it lies; not part of the identity, its files' sha256 is.
    """

    VERSION: ClassVar[int] = 1

    path: str = field(compare=False)
    dtype: Dtype
    chat_template: str | None = None
    end_of_turn: list[int] | None = None
    sha256: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "sha256", directory_hash(self.path))

    def foresee(self) -> Foreseen:
        """The model, as its headers say."""
        return of_model(of_directory(self.path), self.dtype)

    def __call__(self, *, out: Model) -> Mapping[str, float]:
        """Keep model, tokenizer and template.

        Raises:
            ValueError: the directory was written to since it was planned.
        """
        kept = keep(self.path, out, self.dtype, self.chat_template, self.end_of_turn, local_files_only=True)
        if directory_hash(self.path) != self.sha256:
            raise ValueError(f"{self.path} has changed since it was planned; plan again")
        return kept


def directory_hash(path: str) -> str:
    """One sha256 of all files of a model directory.

    Raises:
        ValueError: it holds no safetensors.
    """
    files = sorted(file for pattern in WANTED for file in Path(path).glob(pattern) if file.name not in OURS)
    if not any(file.suffix == ".safetensors" for file in files):
        raise ValueError(f"{path}: expected a model directory with *.safetensors")
    whole = hashlib.sha256()
    for file in files:
        whole.update(f"{file.name}:{file_hash(str(file))}\n".encode())
    return whole.hexdigest()


def keep(
    name: str, out: Model, dtype: Dtype, chat_template: str | None, end_of_turn: list[int] | None, **where: Any
) -> Mapping[str, float]:
    """Load a model and save it as an artifact.

    Raises:
        ValueError: it cannot be read, has no chat template, does not say how its turns end, or has weights that are
            not finite.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    with readable(name):
        refuse_adapter(name, **where)
        tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=False, **where)
    tokenizer.chat_template = chat_template or tokenizer.chat_template
    if tokenizer.chat_template is None:
        raise ValueError(f"{name} has no chat template; give one as chat_template")
    with readable(name):
        model = AutoModelForCausalLM.from_pretrained(
            name, dtype=getattr(torch, dtype), use_safetensors=True, trust_remote_code=False, **where
        )
    if end_of_turn is not None:
        model.generation_config.eos_token_id = end_of_turn
    if model.generation_config.eos_token_id is None:
        raise ValueError(f"{name} does not say which token ends a turn; give its ids as end_of_turn")
    check_weights(model, name)
    model.save_pretrained(out.path)
    tokenizer.save_pretrained(out.path)
    return {"parameters": float(model.num_parameters())}
