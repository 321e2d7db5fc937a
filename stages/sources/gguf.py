"""A GGUF file as an ordinary model directory.

The one decision: quantised weights are spread out once, at the source, and everything after it works on safetensors.
"""

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import ClassVar

from stages.artifacts import Model
from stages.engines.finite import check_weights
from stages.files import file_hash
from stages.foreseen import Foreseen, of_model
from stages.sources.models import Dtype
from stages.sources.readable import readable


@dataclass(frozen=True, kw_only=True)
class PackagedGGUF:
    """A GGUF that an installed Python package carries. The package is located, never imported.

    Args:
        package: the distribution's name, and ``version``, which must be the installed one.
        module: the import package that holds the file.
        file: the file's name in it.
        dtype: of the weights that are written.
        shape: see HubModel.
    """

    VERSION: ClassVar[int] = 1

    package: str
    version: str
    module: str
    file: str
    dtype: Dtype
    shape: dict[str, float] | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if "." in self.module or Path(self.file).name != self.file:
            raise ValueError(f"module and file are plain names, not {self.module!r} and {self.file!r}")
        way_out = f"pip install --no-deps {self.package}=={self.version}"
        try:
            installed = metadata.version(self.package)
        except metadata.PackageNotFoundError as missing:
            raise ValueError(f"the package {self.package} is not installed; {way_out}") from missing
        if installed != self.version:
            raise ValueError(f"{self.package} {installed} is installed, not {self.version}; {way_out}")
        if not self._path().is_file():
            raise ValueError(f"{self.package} {self.version} holds no {self.file}")

    def foresee(self) -> Foreseen:
        """The model, if its shape was said."""
        return of_model(self.shape, self.dtype)

    def __call__(self, *, out: Model) -> Mapping[str, float]:
        """Write it as safetensors with its tokenizer and chat template."""
        return {"parameters": convert(self._path(), out, self.dtype)}

    def _path(self) -> Path:
        spec = importlib.util.find_spec(self.module)
        folders = list(spec.submodule_search_locations or []) if spec else []
        return Path(folders[0] if folders else ".") / self.file


@dataclass(frozen=True, kw_only=True)
class LocalGGUF:
    """A GGUF file of any architecture that transformers reads.

    Args:
        path: where it lies; not part of the identity, its sha256 is.
        dtype: of the weights that are written.
        shape: see HubModel.
    """

    VERSION: ClassVar[int] = 1

    path: str = field(compare=False)
    dtype: Dtype
    shape: dict[str, float] | None = field(default=None, compare=False)
    sha256: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "sha256", file_hash(self.path))

    def foresee(self) -> Foreseen:
        """The model, if its shape was said."""
        return of_model(self.shape, self.dtype)

    def __call__(self, *, out: Model) -> Mapping[str, float]:
        """Write it as safetensors with its tokenizer and chat template.

        Raises:
            ValueError: the file was written to since it was planned.
        """
        parameters = convert(Path(self.path), out, self.dtype)
        if file_hash(self.path) != self.sha256:
            raise ValueError(f"{self.path} has changed since it was planned; plan again")
        return {"parameters": parameters}


def convert(path: Path, out: Model, dtype: Dtype) -> int:
    """Dequantise, and save as a model that says nothing of quantisation; returns the number of parameters.

    Raises:
        ValueError: it is no GGUF that transformers reads, or carries no chat template, or weights that are not finite.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    own = {"gguf_file": path.name, "local_files_only": True}
    with readable(str(path)):
        tokenizer = AutoTokenizer.from_pretrained(path.parent, trust_remote_code=False, **own)
    if tokenizer.chat_template is None:
        raise ValueError(f"{path} carries no chat template, so it cannot be talked to")
    with readable(str(path)):
        loaded = AutoModelForCausalLM.from_pretrained(path.parent, dtype=torch.float32, trust_remote_code=False, **own)
    settings = loaded.config.to_dict()
    settings.pop("quantization_config", None)
    settings["_name_or_path"] = path.stem
    model = type(loaded)(type(loaded.config)(**settings))
    model.load_state_dict(loaded.state_dict())
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model = model.to(getattr(torch, dtype))
    check_weights(model, str(path))
    model.save_pretrained(out.path)
    tokenizer.save_pretrained(out.path)
    return int(model.num_parameters())
