"""What goes wrong in a loop, as stages."""

from collections.abc import Mapping
from dataclasses import dataclass

from stages.artifacts import Pairs, Row


@dataclass(frozen=True, kw_only=True)
class Turned:
    """Pairs whose answers have changed places, if ``really``."""

    really: bool

    def __call__(self, *, pairs: Pairs, out: Pairs) -> Mapping[str, float]:
        return {"pairs": out.write(turned(row) if self.really else row for row in pairs.rows())}


def turned(row: Row) -> Row:
    other = {"chosen": "rejected", "rejected": "chosen"}
    names = {name: name.partition("_") for name in row}
    swapped = {name: "".join([other.get(side, side), *rest]) for name, (side, *rest) in names.items()}
    return {name: row[swapped[name]] for name in row}
