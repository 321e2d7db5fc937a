"""A model directory on this machine.

The one decision: it is known by what its files hold (sha256), so a checkpoint that is overwritten is another model.
"""

import hashlib
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from stages.artifacts import Model

WANTED = ("*.json", "*.safetensors", "*.jinja", "*.model", "*.txt")


@dataclass(frozen=True, kw_only=True)
class LocalModel:
    """A directory that ``transformers`` loads, with safetensors and a chat template.

    Args:
        path: where it lies; not part of the identity, its files' sha256 is.
    """

    VERSION: ClassVar[int] = 1

    path: str = field(compare=False)
    sha256: str = field(init=False)

    def __post_init__(self) -> None:
        files = self._files()
        if not any(file.suffix == ".safetensors" for file in files):
            raise ValueError(f"{self.path}: expected a model directory with *.safetensors")
        whole = hashlib.sha256()
        for file in files:
            with file.open("rb") as opened:
                whole.update(f"{file.name}:{hashlib.file_digest(opened, 'sha256').hexdigest()}\n".encode())
        object.__setattr__(self, "sha256", whole.hexdigest())

    def __call__(self, *, out: Model) -> Mapping[str, float]:
        """Copy the files: a link would change with what it points to."""
        for file in self._files():
            shutil.copyfile(file, out.path / file.name)
        return {"files": len(self._files())}

    def _files(self) -> list[Path]:
        return sorted(file for pattern in WANTED for file in Path(self.path).glob(pattern))
