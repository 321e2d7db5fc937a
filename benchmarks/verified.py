"""Does a loop improve a model? ``verified``, three rounds, with three draws of its samples: held-out tasks solved.

Each run is a process of its own in an empty store. Beside the ratio it draws the curves, with each number's 95 %
interval, to ``docs/verified.png``.
"""

import sys
import tempfile
from pathlib import Path

from benchmarks.loop import timed
from benchmarks.material import ROOT, small_model
from benchmarks.measure import report
from loops import record

SEEDS = ("${number}", "11", "12")
"""What draws the answers and shuffles the pairs: the recipe's own, and two others."""


def main() -> None:
    """Run them all; write how many tasks the last round solves for one that the start solves, and the picture."""
    small_model()
    curves = []
    for place, seed in enumerate(SEEDS):
        folder = Path(tempfile.mkdtemp())
        drawn = [f"round.{node}.stage.seed={seed}" for node in ("generate", "train")]
        command = [sys.executable, "-m", "loops", "run", "recipes=verified", "rounds=3", *drawn]
        seconds = timed(command, folder)
        curves.append(curve(folder / "runs/verified"))
        shown = " → ".join(f"{value:.3f} [{low:.3f}, {high:.3f}]" for value, low, high in curves[-1])
        print(f"  {place + 1}/{len(SEEDS)}: {shown} in {seconds:.0f} s", flush=True)
    draw(curves, ROOT / "docs/verified.png")
    first, last = ([100 * of_one[at][0] for of_one in curves] for at in (0, -1))
    report("verified", target="ours' interval above theirs", unit="% of 96 held-out tasks", ours=last, theirs=first)


def curve(run: Path) -> list[tuple[float, ...]]:
    """By round: the share of tasks that is solved, and its 95 % interval."""
    rounds = record.read(run).metrics()
    names = ("probe/accuracy", "probe/accuracy_low", "probe/accuracy_high")
    return [tuple(rounds[number][name] for name in names) for number in sorted(rounds)]


def draw(curves: list[list[tuple[float, ...]]], path: Path) -> None:
    """A line a run, its points a little apart so that the intervals can be read."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.6), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    for place, points in enumerate(curves):
        values, lows, highs = zip(*points, strict=True)
        x = [number + 0.05 * (place - 1) for number in range(len(points))]
        axes.plot(x, values, marker="o", label=f"draw {place + 1}")
        axes.vlines(x, lows, highs, colors=f"C{place}")
    rounds = range(len(curves[0]))
    axes.set(xticks=rounds, xticklabels=["start", *(f"round {number}" for number in rounds if number)], ylim=(0, 1))
    axes.set(ylabel="held-out tasks solved (95 % interval)")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.savefig(path)


if __name__ == "__main__":
    main()
