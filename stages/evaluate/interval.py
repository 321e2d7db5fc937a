"""How sure a share is: the Wilson score interval.

The one decision: a share of held-out outcomes has this interval, because it stays inside [0, 1] and does not vanish
where all of a few tries came out the same, as share ± 1.96 standard errors would.
"""

import math

Z = 1.959963984540054
"""The normal quantile of a two-sided 95 % interval."""


def wilson(share: float, n: int) -> tuple[float, float]:
    """The 95 % interval of a share of n independent outcomes (Wilson, 1927), as (low, high).

    An outcome may lie between 0 and 1, such as a tie that counts a half. No variable in [0, 1] varies more than a 0/1
    one of the same mean, so the interval is then too wide rather than too narrow.

    Raises:
        ValueError: there are no outcomes.
    """
    if n < 1:
        raise ValueError("the share of no outcomes has no interval")
    centre = share + Z**2 / (2 * n)
    half = Z * math.sqrt(share * (1 - share) / n + (Z / (2 * n)) ** 2)
    low, high = (centre - half) / (1 + Z**2 / n), (centre + half) / (1 + Z**2 / n)
    return max(0.0, low), min(1.0, high)


def standard_error(share: float, n: int) -> float:
    """√(p(1−p)/n) of a share p of n independent outcomes."""
    return math.sqrt(share * (1 - share) / n)


def with_interval(name: str, share: float, n: int) -> dict[str, float]:
    """The share under this name, and its interval under ``name_low`` and ``name_high``."""
    low, high = wilson(share, n)
    return {name: share, f"{name}_low": low, f"{name}_high": high}
