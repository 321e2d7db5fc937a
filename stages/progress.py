"""Progress of long work, for a person at a terminal and for a log file.

The one decision: a terminal sees a moving bar that leaves no trace; anything else gets a plain line now and then.
"""

import sys
from typing import Any

from tqdm import tqdm


class _Lines(tqdm):  # type: ignore[misc]
    """tqdm that ends every report with a new line instead of overwriting the last."""

    def display(self, msg: str | None = None, pos: int | None = None) -> None:
        if 0 < self.n < (self.total or self.n + 1):
            self.fp.write(f"{self}\n")
            self.fp.flush()


def progress(what: str, total: int, unit: str) -> Any:
    """A bar to ``update(n)`` as a context manager."""
    if sys.stdout.isatty():
        return tqdm(desc=what, total=total, unit=unit, file=sys.stdout, leave=False, dynamic_ncols=True)
    bar = "  {desc}: {n_fmt}/{total_fmt} {unit}, {elapsed} so far, {remaining} to go"
    return _Lines(desc=what, total=total, unit=unit, file=sys.stdout, leave=False, mininterval=10, bar_format=bar)
