"""Where a result came from: the commit and its diff, the versions that matter, the command. Never part of a key."""

import hashlib
import inspect
import platform
import subprocess
import sys
from dataclasses import fields, is_dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from loops import machine
from loops.secrets import hidden

PACKAGES = ("torch", "transformers", "trl", "vllm", "datasets", "accelerate", "peft", "hydra-core", "mlflow", "pyarrow")


def provenance() -> dict[str, Any]:
    """What this process runs on, as plain JSON; ``gpus`` are those that it sees, none without torch."""
    return {**_constant(), "gpus": _gpus()}


def runs_on(stage: object) -> dict[str, str]:
    """What a stage's time depends on beside its fields: the kind of machine, and what those of its fields name that say
    where and how fast, such as an engine."""
    named = {field.name: getattr(stage, field.name) for field in fields(stage) if not field.compare}  # type: ignore[arg-type]
    chosen = {name: type(value).__qualname__ for name, value in named.items() if is_dataclass(value)}
    return {**chosen, "machine": machine.name()}


@cache
def _constant() -> dict[str, Any]:
    diff = _git("diff", "HEAD")
    return {
        "commit": (_git("rev-parse", "HEAD") or "").strip() or None,
        "diff_sha256": hashlib.sha256(diff.encode()).hexdigest() if diff else None,
        "command": [hidden(word) for word in sys.argv],
        "python": platform.python_version(),
        "platform": platform.platform(),
        "versions": _versions(),
    }


def code_hash(kind: type) -> str:
    """A hash of the source of the module that holds a stage, to notice that it changed under the same VERSION."""
    return hashlib.sha256(inspect.getsource(sys.modules[kind.__module__]).encode()).hexdigest()[:16]


def _gpus() -> list[str]:
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return []
    return [torch.cuda.get_device_name(place) for place in range(torch.cuda.device_count())]


def package_hash(kind: type) -> str:
    """A hash of everything that may decide what a stage does: all modules of its package, and the versions of others.

    A draft that other code began is not gone on with.
    """
    return _package_hash(kind.__module__.partition(".")[0])


@cache
def _package_hash(package: str) -> str:
    whole = hashlib.sha256(repr(_versions()).encode())
    for folder in sys.modules[package].__path__:
        for file in sorted(Path(folder).rglob("*.py")):
            whole.update(f"{file.relative_to(folder)}\n".encode() + file.read_bytes())
    return whole.hexdigest()[:16]


def _versions() -> dict[str, str]:
    installed = {}
    for package in PACKAGES:
        try:
            installed[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return installed


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=Path(__file__).parent, capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout
