"""What a step needs of a machine, by where its stage lives: ``{stages.generate: {gpus: 8}, stages: {cpus: 4}}``.

The one decision: the longest name that leads to the stage says all of it. Nothing is merged, and no stage knows of it.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from pkgutil import resolve_name
from typing import ClassVar, TypeVar

from pydantic import ConfigDict


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What is kept free for one step.

    Args:
        cpus, gpus: cores, and whole devices of one machine. A step whose engine works elsewhere needs none on Ray.
        memory: GB; nothing is asked for where nothing is said.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    cpus: int = 1
    gpus: int = 0
    memory: float | None = None

    def __post_init__(self) -> None:
        if self.cpus < 0 or self.gpus < 0 or (self.memory is not None and self.memory <= 0):
            raise ValueError(f"cpus and gpus must be at least 0 and memory above 0, not {self}")


R = TypeVar("R", bound=Resources)


def needed(table: Mapping[str, R], order: Path) -> R | None:
    """What the order's step needs, or None if the table says nothing of its stage."""
    target = json.loads(order.read_text(encoding="utf-8"))["stage"]["_target_"]
    leading = [name for name in table if f"{target}.".startswith(f"{name}.")]
    return table[max(leading, key=len)] if leading else None


def check(workers: int, retries: int, table: Mapping[str, Resources]) -> None:
    """
    Raises:
        ValueError: an executor cannot have so many workers or further tries, or a name in its table leads to no stage,
            so that what it says would never be heeded.
    """
    if workers < 1 or retries < 0:
        raise ValueError(f"workers must be at least 1 and retries at least 0, not {workers} and {retries}")
    for name in table:
        try:
            resolve_name(name)
        except (ImportError, AttributeError, ValueError):
            raise ValueError(
                f"resources: there is no package, module or class {name!r}; a name is the beginning of a _target_, "
                "as in stages.generate"
            ) from None
