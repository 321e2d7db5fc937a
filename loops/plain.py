"""What is printed, as plain text.

The one decision: nothing that a model or a file says is interpreted, by the terminal or by rich. What would move a
cursor, change a colour or turn the order of letters is shown by its escape.
"""

import re
import sys
from collections.abc import Iterable
from typing import Any

from rich.console import Console as Terminal
from rich.table import Table
from rich.text import Text

HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e0fff]"
)
"""Control characters but for line feed and tab, marks of direction, and what is not seen at all."""


def plain(text: str, most: int | None = None) -> str:
    """The text with what is hidden made visible, cut with an ellipsis after ``most`` characters."""
    cut = text if most is None or len(text) <= most else f"{text[: most - 1]}…"
    return HIDDEN.sub(lambda found: found.group().encode("unicode_escape", "surrogatepass").decode(), cut)


def grid(rows: Iterable[tuple[str, str]]) -> Table:
    """Names, and beside each its text, which may have several lines."""
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in rows:
        table.add_row(Text(f"  {plain(name)}"), Text(plain(text)))
    return table


def lay_out(table: Any) -> None:
    """Print a table as wide as the terminal, or as 160 letters where there is none."""
    Terminal(width=None if sys.stdout.isatty() else 160, highlight=False, markup=False, emoji=False).print(table)


def duration(seconds: float) -> str:
    """Seconds as a person reads them."""
    if seconds < 100:
        return f"{seconds:.0f} s" if seconds >= 1 or not seconds else f"{seconds:.1g} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def size(count: float) -> str:
    """Bytes as a person reads them."""
    value, units = float(count), iter(("B", "kB", "MB", "GB"))
    unit = next(units)
    while value >= 1000 and unit != "GB":
        value, unit = value / 1000, next(units)
    return f"{value:.3g} {unit}"
