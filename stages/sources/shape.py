"""How large a source is, before anything of it is loaded: a directory's weights, a file's rows.

The one decision: only headers are read and lines counted. What would need a library to be opened, such as parquet, or
the network, is not known yet.
"""

import json
from collections.abc import Mapping
from math import nan, prod
from pathlib import Path
from typing import Any

from stages.foreseen import Foreseen, Size, at_most
from stages.sources.readable import readable

BYTES_A_TOKEN = 4
"""Of English text, about."""


def of_directory(path: str) -> Mapping[str, float]:
    """The shape of a model directory of transformers, see Size; without what its files do not say.

    Raises:
        ValueError: they cannot be read.
    """
    folder = Path(path)
    with readable(path):
        shape = {"parameters": float(sum(map(_parameters, _weights(folder))))}
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config = config.get("text_config") or config
    said = {
        "layers": config.get("num_hidden_layers"),
        "width": config.get("hidden_size"),
        "inner": config.get("intermediate_size"),
        "keys": _keys(config),
        "vocabulary": config.get("vocab_size"),
    }
    return shape | {name: float(value) for name, value in said.items() if isinstance(value, int | float)}


def _weights(folder: Path) -> list[Path]:
    """The files that transformers reads; a folder may hold the same weights in another layout besides."""
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        return [folder / name for name in sorted(set(json.loads(index.read_text("utf-8"))["weight_map"].values()))]
    single = folder / "model.safetensors"
    return [single] if single.is_file() else sorted(folder.glob("*.safetensors"))


def of_file(path: str, skip: int, limit: int | None, answers: int) -> Foreseen:
    """A local file's rows, each a prompt and so many answers, its text shared among them equally."""
    file = Path(path)
    if file.suffix == ".parquet":
        return of_table(limit)
    with file.open("rb") as opened:
        lines = max(1, sum(1 for _ in opened))
    rows = at_most(max(0, lines - skip), limit)
    part = file.stat().st_size / lines / BYTES_A_TOKEN / (1 + answers)
    return Foreseen(size=Size(rows=rows, prompts=rows, prompt=part, answer=part if answers else nan))


def of_table(limit: int | None) -> Foreseen:
    """A table that cannot be seen yet, of which at most so many rows are taken."""
    rows = nan if limit is None else float(limit)
    return Foreseen(size=Size(rows=rows, prompts=rows))


def _parameters(file: Path) -> int:
    """The weights in a safetensors file: its header is JSON behind its own length, a little-endian 64-bit number."""
    with file.open("rb") as opened:
        header = json.loads(opened.read(int.from_bytes(opened.read(8), "little")))
    return sum(prod(tensor["shape"]) for name, tensor in header.items() if name != "__metadata__")


def _keys(config: Mapping[str, Any]) -> float | None:
    """The width of all key heads together."""
    heads, width = config.get("num_attention_heads"), config.get("hidden_size")
    if not heads or not width:
        return None
    head = config.get("head_dim") or width / heads
    return float((config.get("num_key_value_heads") or heads) * head)
