"""Task files of lm-evaluation-harness: those that it ships, and a folder of the user's own.

The one decision: a folder is known by what is in it, so whatever its tasks read from this machine must lie in it too.
Nothing of it is run to find that out.
"""

import hashlib
import importlib.util
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from stages.files import file_hash

DATA = ("dataset_path", "data_files", "data_dir")
"""The keys of a task file under which it names data: by their path from where one stands, or on the hub."""
PATTERN = re.compile(r"[*?\[{]")


class _Plain(yaml.SafeLoader):
    """YAML in which ``!function`` is a text, and nothing is imported."""


_Plain.add_multi_constructor("!", lambda loader, tag, node: str(node.value))


def folder_hash(folder: str) -> str:
    """One sha256 of everything in a folder of task files, wherever it lies.

    Raises:
        ValueError: there is no task file in it, one cannot be read, or one reads what lies outside.
    """
    files = sorted(file for file in Path(folder).rglob("*") if file.is_file() and "__pycache__" not in file.parts)
    tasks = [file for file in files if file.suffix == ".yaml"]
    if not tasks:
        raise ValueError(f"{folder}: expected a folder with task files of lm-evaluation-harness (*.yaml)")
    for task in tasks:
        _check_reads(task, Path(folder))
    whole = hashlib.sha256()
    for file in files:
        whole.update(f"{file.relative_to(folder).as_posix()}:{file_hash(str(file))}\n".encode())
    return whole.hexdigest()


def is_known(name: str, folder: str | None) -> bool:
    """Whether a word of any task file that ships, or of the folder's, is this name; if none is, it is no task's.

    Groups and tags take their names from includes, so who has the name is only known when all are loaded.
    """
    shipped = importlib.util.find_spec("lm_eval")
    assert shipped is not None, "whether it is installed was asked before"
    assert shipped.origin is not None
    own = _words(Path(folder)) if folder is not None else frozenset[str]()
    return name in own or name in _shipped_words(Path(shipped.origin).parent / "tasks")


@cache
def _shipped_words(folder: Path) -> frozenset[str]:
    return _words(folder)


def _words(folder: Path) -> frozenset[str]:
    """The words of all files in a folder that hold tasks; templates that are included may have no suffix."""
    files = (file for file in folder.rglob("*") if file.suffix in (".yaml", "") and file.is_file())
    texts = (file.read_text(encoding="utf-8", errors="replace") for file in files)
    return frozenset(word for text in texts for word in re.findall(r"[\w.:()-]+", text))


def _check_reads(task: Path, folder: Path) -> None:
    """Refuse a task file that cannot be read, or reads what lies outside."""
    try:
        found = yaml.load(task.read_text(encoding="utf-8"), Loader=_Plain)
    except (yaml.YAMLError, UnicodeDecodeError) as wrong:
        raise ValueError(f"{task} is not YAML: {' '.join(str(wrong).split())[:300]}") from wrong
    for key, named in _named(found, None):
        place = task.parent / named if key == "include" else Path(PATTERN.split(named)[0]).expanduser()
        local = key == "include" or place.exists() or (task.parent / named).exists()
        inside = place.exists() and place.resolve().is_relative_to(folder.resolve())
        if (local or named.startswith(("/", "~", ".."))) and "://" not in named and not inside:
            raise ValueError(
                f"{task}: {key} {named!r} is nothing in {folder}, and a task is known by what its folder holds. An "
                "include is named by its path from the file, data by their path from where you stand"
            )


def _named(value: Any, key: str | None) -> Iterator[tuple[str, str]]:
    """Every text below the keys that name files, with its key."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _named(item, key or (name if name in ("include", *DATA) else None))
    elif isinstance(value, list):
        for item in value:
            yield from _named(item, key)
    elif key is not None and isinstance(value, str):
        yield key, value
