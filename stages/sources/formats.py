"""The rows of jsonl, parquet and csv files, each with its number.

The one decision: a file is read whole before anything is made of it, and what is wrong in it is an error that names
file and row. A name that occurs twice, or a field too many, would otherwise be lost in silence.
"""

import csv
import json
from collections.abc import Iterator
from pathlib import Path

from stages.json_object import each_once
from stages.sources.rows import Numbered


def _jsonl(path: Path) -> list[Numbered]:
    rows = []
    for number, line in enumerate(_lines(path, "row"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line, object_pairs_hook=each_once)
        except (ValueError, RecursionError) as wrong:
            raise ValueError(f"{path}, row {number}: expected a JSON object, but {str(wrong)[:200]}") from wrong
        if not isinstance(row, dict):
            raise ValueError(f"{path}, row {number}: expected a JSON object, got {line.strip()[:60]}")
        rows.append((number, row))
    return rows


def _parquet(path: Path) -> list[Numbered]:
    import pyarrow as pa
    import pyarrow.parquet as parquet

    try:
        return list(enumerate(parquet.read_table(path, memory_map=False).to_pylist(), start=1))
    except (pa.ArrowException, ValueError, OSError) as wrong:
        raise ValueError(f"{path}: not a parquet file ({' '.join(str(wrong).split())[:200]})") from wrong


def _csv(path: Path) -> list[Numbered]:
    rows: list[Numbered] = []
    reader = csv.DictReader(_lines(path, "line"), strict=True)
    try:
        names = list(reader.fieldnames or [])
        if len(set(names)) < len(names):
            raise ValueError(f"{path}: a column occurs twice in the header: {', '.join(names)[:200]}")
        for number, row in enumerate(reader, start=1):
            if None in row or None in row.values():
                raise ValueError(f"{path}, row {number}: expected {len(names)} fields, as in the header")
            rows.append((number, row))
    except csv.Error as wrong:
        raise ValueError(f"{path}, row {len(rows) + 1}: not csv ({wrong})") from wrong
    return rows


def _lines(path: Path, called: str) -> Iterator[str]:
    """
    Raises:
        ValueError: a line is not UTF-8.
    """
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                yield line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as wrong:
                raise ValueError(f"{path}, {called} {number}: expected UTF-8, but byte {wrong.start} is not") from wrong


READERS = {".jsonl": _jsonl, ".parquet": _parquet, ".csv": _csv}
