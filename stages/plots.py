"""Pictures that a stage leaves beside its rows, drawn in one style, without a display."""

from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any


def histogram(values: Sequence[float], path: Path, what: str, of: str) -> None:
    """How often which value occurs."""
    import numpy as np

    figure, axes = _canvas()
    axes.hist(np.asarray(values), bins=min(40, max(5, len(values) // 5)), color="#4472a8")
    _finish(figure, axes, path, what, of)


def scatter(x: Sequence[float], y: Sequence[float], path: Path, x_name: str, y_name: str) -> None:
    """One dot a pair, with the diagonal."""
    figure, axes = _canvas()
    axes.scatter(x, y, s=12, alpha=0.6, color="#4472a8")
    end = max(chain(x, y), default=1)
    axes.plot([0, end], [0, end], color="#999999", linewidth=1)
    _finish(figure, axes, path, x_name, y_name)


def curve(x: Sequence[float], y: Sequence[float], mark: float, path: Path, x_name: str, y_name: str) -> None:
    """A line, with what was chosen marked."""
    figure, axes = _canvas()
    axes.plot(x, y, color="#4472a8", drawstyle="steps-post")
    axes.axhline(0, color="#999999", linewidth=1)
    axes.axvline(mark, color="#c0504d", linewidth=1, label=f"chosen: {mark:.4g}")
    axes.legend(frameon=False)
    _finish(figure, axes, path, x_name, y_name)


def _canvas() -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), dpi=120, layout="constrained")
    return figure, figure.add_subplot()


def _finish(figure: Any, axes: Any, path: Path, x_name: str, y_name: str) -> None:
    axes.set(xlabel=x_name, ylabel=y_name)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path)
