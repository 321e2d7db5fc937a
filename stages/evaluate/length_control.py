"""Win rates, raw and length-controlled.

The one decision: the length-controlled rate is AlpacaEval's regression (Dubois et al., 2024, arXiv 2404.04475) without
what cannot be had offline, the difficulties of its 805 instructions. It is called minimal wherever it is told, because
it is another number than the published one and must not stand beside it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from stages.evaluate.interval import Z, wilson

RIDGE = 100.0
"""The inverse strength of the ridge on both coefficients; AlpacaEval's C."""


@dataclass(frozen=True, kw_only=True)
class Rate:
    """A win rate in [0, 1], its standard error where it has one, and its 95 % interval."""

    value: float
    low: float
    high: float
    se: float | None = None


def raw(preferences: Sequence[float]) -> Rate:
    """The mean preference, with the standard error of a mean and the Wilson interval.

    Args:
        preferences: of each prompt, for the candidate: 1 for a win, 0 for a loss, ½ for a tie, or how sure the judge
            is. AlpacaEval's annotations are these plus 1.
    """
    mean = fmean(preferences)
    low, high = wilson(mean, len(preferences))
    se = stdev(preferences) / len(preferences) ** 0.5 if len(preferences) > 1 else None
    return Rate(value=mean, low=low, high=high, se=se)


def minimal_length_controlled(preferences: Sequence[float], longer: Sequence[float]) -> Rate | None:
    """The win rate that the judge would give to answers of the baseline's length.

    Logistic regression of the preference on an intercept and tanh(d / std(d)), d the difference in length, with a ridge
    of C = 100 on both coefficients; the rate is the prediction at d = 0. A preference between 0 and 1 counts as a win
    with that weight and a loss with the rest. The interval is that of the intercept ± 1.96 robust (sandwich) standard
    errors, on the scale of probabilities.

    Args:
        preferences: see ``raw``.
        longer: by how many characters the candidate's answer is longer than the baseline's, prompt by prompt.

    Returns:
        None where the difference is everywhere the same, so that nothing tells length from quality.
    """
    import numpy as np

    if len(set(longer)) < 2:
        return None
    wins, gaps = np.asarray(preferences, dtype=float), np.asarray(longer, dtype=float)
    features = np.stack([np.ones_like(gaps), np.tanh(gaps / gaps.std(ddof=1))], axis=1)
    coefficients = _fit(features, wins)
    se = _robust_errors(features, wins, coefficients)[0]
    value, low, high = (_logistic(coefficients[0] + shift * se) for shift in (0, -Z, Z))
    return Rate(value=value, low=low, high=high)


def _fit(features: Any, wins: Any) -> Any:
    """The coefficients: (prompts, 2), (prompts,) -> (2,)."""
    import numpy as np
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=RIDGE, fit_intercept=False, solver="newton-cholesky", tol=1e-10)
    won = np.repeat([1, 0], len(wins))
    model.fit(np.concatenate([features, features]), won, sample_weight=np.concatenate([wins, 1 - wins]))
    return model.coef_[0]


def _robust_errors(features: Any, wins: Any, coefficients: Any) -> Any:
    """Standard errors of the coefficients by the sandwich H⁻¹ S H⁻¹, which holds for fractional outcomes too. (2,)"""
    import numpy as np

    expected = 1 / (1 + np.exp(-features @ coefficients))
    curvature = (features.T * (expected * (1 - expected))) @ features + np.eye(features.shape[1]) / RIDGE
    bread = np.linalg.inv(curvature)
    pulls = features * (wins - expected)[:, None]
    return np.sqrt(np.diag(bread @ (pulls.T @ pulls) @ bread))


def _logistic(odds: float) -> float:
    return 1 / (1 + math.exp(-odds))
