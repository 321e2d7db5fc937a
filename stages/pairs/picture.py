"""Numbers and pictures of mined pairs: margins, lengths of chosen against rejected, the sweep over α."""

import json
from array import array
from collections.abc import Mapping, Sequence
from statistics import fmean, quantiles

from stages.artifacts import Pairs
from stages.pairs.candidates import Candidates
from stages.pairs.length import Unit, length, mean_gap, typical_penalty
from stages.plots import curve, histogram, scatter

POINTS = 41
SIDES = ("chosen", "rejected")
UNITS: tuple[Unit, ...] = ("characters", "tokens")


def picture(pairs: Pairs, unit: Unit) -> Mapping[str, float]:
    """Draw the pairs into their artifact; quantiles of the margin, mean lengths in characters and tokens."""
    margins = array("d")
    sizes = {(side, of): array("d") for side in SIDES for of in dict.fromkeys((*UNITS, unit))}
    for row in pairs.rows(["chosen", "rejected", "margin", "chosen_tokens", "rejected_tokens"]):
        margins.append(row["margin"])
        for (side, of), measured in sizes.items():
            measured.append(length(row[side][0]["content"], row[f"{side}_tokens"], of))
    histogram(margins, pairs.plots / "margin_histogram.png", "margin", "pairs")
    lengths = sizes["rejected", unit], sizes["chosen", unit]
    scatter(*lengths, pairs.plots / "length.png", f"rejected ({unit})", f"chosen ({unit})")
    deciles = quantiles(margins, n=10) if len(margins) > 1 else margins * 9
    return {
        "margin": fmean(margins),
        **{f"{side}_{of}": fmean(sizes[side, of]) for of in UNITS for side in SIDES},
        "margin_p10": deciles[0],
        "margin_p50": deciles[4],
        "margin_p90": deciles[8],
    }


def sweep(pairs: Pairs, candidates: Candidates, alpha: float, unit: Unit) -> None:
    """g over a range of α around the one that was used: as a picture, and as numbers in sweep.json."""
    end = 2 * (alpha or typical_penalty(candidates))
    alphas = [end * step / (POINTS - 1) for step in range(POINTS)]
    gaps: Sequence[float] = [mean_gap(candidates, value) for value in alphas]
    (pairs.path / "sweep.json").write_text(json.dumps({"alpha": alphas, "gap": gaps}), encoding="utf-8")
    curve(alphas, gaps, alpha, pairs.plots / "alpha_sweep.png", f"α per {unit[:-1]}", f"mean length gap ({unit})")
