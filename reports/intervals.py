"""95% intervals of what was measured, and of the difference of two measurements.

The one decision: an interval is read off the names of the metrics: ``X_low`` and ``X_high``, or else ``X_se``, the
standard error of ``X``. Without either there is none, and nothing is said to differ.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from stages.evaluate.interval import Z, wilson

ENDS = ("_se", "_low", "_high")


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A number and its 95% interval; ``low`` and ``high`` are the number itself where nobody knows how sure it is."""

    value: float
    low: float
    high: float

    @property
    def sure(self) -> bool:
        """Whether there is an interval."""
        return self.low < self.high

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]" if self.sure else f"{self.value:.4g}"


def measured(metrics: Mapping[str, float], name: str) -> Measured:
    """A metric with its interval.

    A standard error that is exactly √(p(1−p)/n) is that of a share p of n, which gets Wilson's interval. Any other
    standard error gives the normal one.
    """
    value = metrics[name]
    if f"{name}_low" in metrics and f"{name}_high" in metrics:
        return Measured(value=value, low=metrics[f"{name}_low"], high=metrics[f"{name}_high"])
    error = metrics.get(f"{name}_se", 0.0)
    if 0 < value < 1 and error > 0:
        count = value * (1 - value) / error**2
        if abs(count - round(count)) < 1e-6 * count:
            low, high = wilson(value, round(count))
            return Measured(value=value, low=low, high=high)
    return Measured(value=value, low=value - Z * error, high=value + Z * error)


def difference(before: Measured, after: Measured) -> Measured:
    """after − before, with an interval made of theirs as if they were independent (Newcombe, 1998, method 10).

    Measured on the same items they are usually alike, and the interval is then too wide rather than too narrow.
    """
    gap = after.value - before.value
    down = math.hypot(after.value - after.low, before.high - before.value)
    up = math.hypot(after.high - after.value, before.value - before.low)
    return Measured(value=gap, low=gap - down, high=gap + up)
