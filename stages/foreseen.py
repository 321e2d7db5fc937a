"""What a stage foresees of a step before it runs: how large its artifact will be, and what making it takes.

The one decision: it follows from the plan alone, as a key does. What nobody can know yet is nan, and so is whatever is
reckoned from it: it is never taken for 0. How much of the foreseen really comes is left to what was measured.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import isnan, nan

WIDTHS = {"float32": 4, "bfloat16": 2}
"""Bytes of a stored weight."""
SHAPE = ("parameters", "layers", "width", "inner", "keys", "vocabulary")
"""What tells a model's size, see Size."""


@dataclass(frozen=True, kw_only=True)
class Size:
    """How large an artifact is.

    Args:
        rows, prompts: of a table, and how many of its prompts differ; at most, where a step may drop some.
        prompt, answer: tokens of a prompt and of one answer: of sampled answers at most, of a file's text about, a
            quarter of its bytes.
        at_most: answers are as long as ``max_new_tokens`` allows, and will mostly be shorter.
        parameters, layers, width, inner, keys, vocabulary: of a model: its weights, its layers, the widths of its
            states, of its feed-forward layers and of all its key heads together, and its tokens.
        bytes: on disk.
    """

    rows: float = nan
    prompts: float = nan
    prompt: float = nan
    answer: float = nan
    at_most: bool = False
    parameters: float = nan
    layers: float = nan
    width: float = nan
    inner: float = nan
    keys: float = nan
    vocabulary: float = nan
    bytes: float = nan

    @property
    def each(self) -> float:
        """Answers to a prompt."""
        return self.rows / self.prompts


@dataclass(frozen=True, kw_only=True)
class Foreseen:
    """What a step makes, and what making it takes.

    Args:
        size: of its artifact.
        tokens: of answers, that are generated or passed through a model, each time that they are. Prompts, which are
            passed once for all their answers, are not counted.
        at_most: whether there will mostly be fewer tokens.
        work: tokens times parameters: what time is proportional to; where nothing is said, it is to the rows.
        memory: bytes at the peak, on the device that does it, about.
        least: bytes of ``memory`` that are certain; where they are not there, the step cannot run.
        devices: how many of one machine do it together, each with that much memory.
        only_gpus: whether nothing else will do.
        kept: bytes that stay on disk, where they are not the size's; None: they are.
    """

    size: Size
    tokens: float = 0.0
    at_most: bool = False
    work: float = nan
    memory: float = nan
    least: float = nan
    devices: int = 1
    only_gpus: bool = False
    kept: float | None = None


def of_model(shape: Mapping[str, float] | None, dtype: str) -> Foreseen:
    """A model of this shape (see Size), as it will be stored.

    Raises:
        ValueError: the shape has a name that is none of a model's.
    """
    said = shape or {}
    if unknown := said.keys() - set(SHAPE):
        raise ValueError(f"shape has no {', '.join(sorted(unknown))}; there is {', '.join(SHAPE)}")
    model = replace(Size(), **said)  # type: ignore[arg-type]
    return Foreseen(size=replace(model, bytes=model.parameters * WIDTHS[dtype]))


def passed(
    table: Size, *models: Size, answers: float, memory: float, size: Size | None = None, together: bool = False
) -> Foreseen:
    """So many answers of a table passed through each of the models.

    Args:
        memory: bytes beside the models' weights.
        size: of the artifact; None: the table's own rows.
        together: whether all models are in memory at once; else one after the other is.
    """
    tokens = answers * table.answer
    sizes = [model.bytes for model in models]
    weights = sum(sizes) if together else largest(*sizes)
    return Foreseen(
        size=size or replace(table, bytes=nan),
        tokens=tokens * len(models),
        at_most=table.at_most,
        work=tokens * sum(model.parameters for model in models),
        memory=weights + memory,
        least=weights,
    )


def largest(*values: float) -> float:
    """The largest; nan if one of them is not known."""
    return nan if any(map(isnan, values)) else max(values)


def at_most(*bounds: float | None) -> float:
    """The smallest of the bounds that are known; nan if none is."""
    known = [bound for bound in bounds if bound is not None and not isnan(bound)]
    return min(known, default=nan)
