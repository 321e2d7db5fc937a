"""Artifacts as directories, and tables of rows in them.

The one decision: a table is numbered parquet parts, each whole or absent, so a stage that is interrupted goes on behind
the last part, and a reader streams whatever there is of them.
"""

import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

from stages.durable import put

Row = dict[str, Any]
PART_ROWS = 4096


class Artifact:
    """A directory. Its name is its identity: in a store, the key of the step that made it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def identity(self) -> str:
        """What tells this artifact from others."""
        return self.path.name

    @property
    def plots(self) -> Path:
        """Where pictures go that belong to the artifact."""
        (self.path / "plots").mkdir(parents=True, exist_ok=True)
        return self.path / "plots"

    @property
    def scratch(self) -> Path:
        """Where a stage keeps what it resumes from; never part of the artifact."""
        (self.path / "scratch").mkdir(parents=True, exist_ok=True)
        return self.path / "scratch"


class Table(Artifact):
    """Rows in numbered parquet parts, in input order. ``COLUMNS`` maps each column to its type; any may be null."""

    COLUMNS: ClassVar[Mapping[str, str]] = {}

    def rows(self, columns: list[str] | None = None) -> Iterator[Row]:
        """Stream the rows, or only some of their columns, in order.

        A column that the kind did not have yet when the table was written is null.
        """
        for batch, absent in self._batches(columns):
            yield from _rows(batch, absent)

    def rows_at(self, places: Collection[int], columns: list[str] | None = None) -> Iterator[Row]:
        """Stream the rows at these places, which rise. The others are never made into rows."""
        import numpy as np

        wanted, begin = np.asarray(places, dtype=np.int64), 0
        for batch, absent in self._batches(columns):
            first, last = np.searchsorted(wanted, (begin, begin + len(batch)))
            yield from _rows(batch.take(wanted[first:last] - begin), absent)
            begin += len(batch)

    def _batches(self, columns: list[str] | None) -> Iterator[tuple[Any, Row]]:
        """Some rows at a time, and the nulls of the columns that their part does not have."""
        import pyarrow.parquet as parquet

        wanted = columns or list(self.COLUMNS)
        for part in sorted(self.path.glob("part-*.parquet"), key=lambda part: int(part.stem.removeprefix("part-"))):
            file = parquet.ParquetFile(part)
            there = [name for name in wanted if name in file.schema_arrow.names]
            absent = dict.fromkeys(name for name in wanted if name not in there)
            for batch in file.iter_batches(batch_size=1024, columns=there):
                yield batch, absent

    def __len__(self) -> int:
        import pyarrow.parquet as parquet

        return sum(parquet.ParquetFile(part).metadata.num_rows for part in self.path.glob("part-*.parquet"))

    def write(self, rows: Iterable[Row]) -> int:
        """Write all rows, streaming, and return how many there were."""
        iterator, index, count = iter(rows), 0, 0
        while chunk := list(islice(iterator, PART_ROWS)):
            self.write_part(index, chunk)
            index, count = index + 1, count + len(chunk)
        if index == 0:
            self.write_part(0, [])
        return count

    def write_part(self, index: int, rows: list[Row]) -> None:
        """Write one part, whole or not at all.

        Raises:
            ValueError: a number in it is NaN or infinite.
        """
        import pyarrow as pa
        import pyarrow.parquet as parquet

        table = pa.Table.from_pylist(rows, schema=_schema(self.COLUMNS))
        for name, kind in self.COLUMNS.items():
            if kind in ("number", "numbers"):
                _check_finite(table, name, rows)
        draft = self.path / f".part-{index:05d}"
        parquet.write_table(table, draft, compression="zstd")
        put(draft, self._part(index))

    def has_part(self, index: int) -> bool:
        """Whether a part was written before an interruption."""
        return self._part(index).exists()

    def _part(self, index: int) -> Path:
        return self.path / f"part-{index:05d}.parquet"


def _rows(batch: Any, absent: Row) -> Iterator[Row]:
    rows: list[Row] = batch.to_pylist()
    return ({**row, **absent} for row in rows) if absent else iter(rows)


def _check_finite(table: Any, name: str, rows: list[Row]) -> None:
    import pyarrow as pa
    import pyarrow.compute as compute

    values = table.column(name)
    flat = compute.list_flatten(values) if pa.types.is_list(values.type) else values
    if compute.all(compute.is_finite(flat)).as_py() is False:
        place, wrong = next((place, row) for place, row in enumerate(rows) if not _finite(row.get(name)))
        which = ", ".join(f"{id} {wrong[id]!r}" for id in ("prompt_id", "sample") if id in wrong)
        raise ValueError(
            f"row {place} of the part ({which}): {name} is {wrong[name]}. "
            "Likely causes: a model that overflowed (see the curve of its training), or a score that divides by zero"
        )


def _finite(value: Any) -> bool:
    numbers = value if isinstance(value, list | tuple) else [value]
    return all(number is None or math.isfinite(number) for number in numbers)


def _schema(columns: Mapping[str, str]) -> Any:
    import pyarrow as pa

    types = {
        "text": pa.string(),
        "integer": pa.int64(),
        "number": pa.float64(),
        "integers": pa.list_(pa.int32()),
        "numbers": pa.list_(pa.float64()),
        "texts": pa.list_(pa.string()),
        "messages": pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())])),
    }
    return pa.schema([(name, types[type]) for name, type in columns.items()])
