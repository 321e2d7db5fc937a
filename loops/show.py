"""One step from inside: what it is, what it measured, and its first rows or its files; and what its log says.

The one decision: a table is whatever lies there as numbered parquet parts. What its columns mean is not known here.
"""

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from loops.console import say
from loops.errors import RecipeError
from loops.fingerprint import flat
from loops.manifest import Manifest
from loops.plain import duration, grid, lay_out, plain, size
from loops.record import Record, Recorded

TEXT, NUMBERS = 400, 8
"""The most letters of a text and the most numbers of a list that are shown."""


def show(record: Record, id: str, rows: int) -> None:
    """Print a step of a run.

    Raises:
        RecipeError: the run has no such step, or it is not there (yet).
    """
    step, store = record.step(id), record.opened()
    manifest = store.fetch(step.key)
    if manifest is None:
        wrong = "; ".join(store.damage(step.key))
        reason = f"it is damaged: {wrong}" if wrong else "it is not made yet"
        raise RecipeError(f"{record.run} has no {id} to show: {reason}. Its state: selfloop status run={record.run}")
    place = store.path(step.key)
    say(f"{record.run} {step.id}, made in {duration(manifest.seconds)}: {place}\n")
    lay_out(grid(_described(step, manifest)))
    if list(place.glob("part-*.parquet")):
        _show_rows(place, rows)
    else:
        _show_files(place, manifest)


def log(record: Record, id: str) -> None:
    """Print what a step's worker left in its log.

    Raises:
        RecipeError: the run has no such step, or it has no log under this run.
    """
    path = record.file(record.step(id), "logs", ".log")
    if not path.exists():
        raise RecipeError(f"{id} has no log in {record.run}: it is not begun, or another run made it")
    text = path.read_text(encoding="utf-8", errors="backslashreplace").replace("\r\n", "\n").replace("\r", "\n")
    say(plain(text) or f"{path} is empty: nothing was wrong", end="" if text.endswith("\n") else "\n")


def _described(step: Recorded, manifest: Manifest) -> Iterator[tuple[str, str]]:
    yield "makes", step.kind
    yield from ((name, shown(value)) for name, value in flat(manifest.stage).items())
    yield from ((f"reads {name}", read) for name, read in step.inputs.items())
    yield "", ""
    yield from aligned(manifest.metrics)


def aligned(numbers: dict[str, float]) -> Iterator[tuple[str, str]]:
    """Numbers with their points under each other."""
    texts = {name: f"{value:.0f}" if value == int(value) else f"{value:.6g}" for name, value in numbers.items()}
    wide = max((len(text.partition(".")[0]) for text in texts.values()), default=0)
    for name, text in texts.items():
        yield name, " " * (wide - len(text.partition(".")[0])) + text


def _show_rows(place: Path, count: int) -> None:
    import pyarrow.parquet as parquet

    parts = sorted(place.glob("part-*.parquet"), key=lambda part: int(part.stem.removeprefix("part-")))
    files = [parquet.ParquetFile(part) for part in parts]
    total = sum(file.metadata.num_rows for file in files)
    batches = (batch for file in files for batch in file.iter_batches(batch_size=64))
    rows = (row for batch in batches for row in batch.to_pylist())
    for number, row in enumerate(islice(rows, count)):
        say(f"\nrow {number} of {total}")
        lay_out(grid((name, shown(value)) for name, value in row.items() if value is not None))
    if count < total:
        say(f"\n{total - count} more rows: rows={total} shows all; columns that are null are left out")


def _show_files(place: Path, manifest: Manifest) -> None:
    say("")
    lay_out(grid((name, size(known["size"])) for name, known in manifest.files.items()))


def shown(value: Any) -> str:
    """A value as text: of a list of records a line each (``user: Hello``), of long texts and lists the beginning."""
    match value:
        case str():
            return plain(value, TEXT)
        case float():
            return f"{value:.6g}"
        case [dict(), *_]:
            return "\n".join(plain(": ".join(map(str, item.values())), TEXT) for item in value)
        case [str(), *_]:
            return "\n".join(f"- {plain(item, TEXT)}" for item in value)
        case list() if len(value) > NUMBERS:
            return f"[{', '.join(map(shown, value[:NUMBERS]))}, … {len(value)} in all]"
        case list():
            return f"[{', '.join(map(shown, value))}]"
    return plain(json.dumps(value, ensure_ascii=False, default=str), TEXT)
