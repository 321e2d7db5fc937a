"""Numbers and pictures of mined pairs: margins, lengths of chosen against rejected, the sweep over α."""

import json
from collections.abc import Mapping, Sequence
from statistics import fmean

from stages.artifacts import Pairs
from stages.pairs.length import Candidates, Unit, length, mean_gap
from stages.plots import curve, histogram, scatter

POINTS = 41


def picture(pairs: Pairs, candidates: Candidates, alpha: float, unit: Unit) -> Mapping[str, float]:
    """Draw the pairs into their artifact; mean margin and mean lengths in characters and in the unit."""
    rows = list(pairs.rows(["chosen", "rejected", "margin", "chosen_tokens", "rejected_tokens"]))
    margins = [row["margin"] for row in rows]
    sizes = {
        side: [length(row[side][0]["content"], row[f"{side}_tokens"], unit) for row in rows]
        for side in ("chosen", "rejected")
    }
    histogram(margins, pairs.plots / "margin_histogram.png", "margin", "pairs")
    scatter(sizes["rejected"], sizes["chosen"], pairs.plots / "length.png", f"rejected ({unit})", f"chosen ({unit})")
    _sweep(pairs, candidates, alpha, unit)
    return {
        "margin": fmean(margins),
        "chosen_length": fmean(sizes["chosen"]),
        "rejected_length": fmean(sizes["rejected"]),
    }


def _sweep(pairs: Pairs, candidates: Candidates, alpha: float, unit: Unit) -> None:
    """g over a range of α around the one that was used: as a picture, and as numbers in sweep.json."""
    if alpha == 0:
        return
    alphas = [2 * alpha * step / (POINTS - 1) for step in range(POINTS)]
    gaps: Sequence[float] = [mean_gap(candidates, value) for value in alphas]
    (pairs.path / "sweep.json").write_text(json.dumps({"alpha": alphas, "gap": gaps}), encoding="utf-8")
    curve(alphas, gaps, alpha, pairs.plots / "alpha_sweep.png", f"α per {unit[:-1]}", f"mean length gap ({unit})")
