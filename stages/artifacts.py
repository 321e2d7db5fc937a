"""The kinds of artifact: what a directory holds, and how it is read and written.

The one decision: rows carry forward what a later step needs (Scores rows are Completions rows with a score; Pairs rows
keep scores, token ids and log-probs), so no stage looks back. Tables are numbered parquet parts, each whole or absent.
"""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

Row = dict[str, Any]
Message = dict[str, str]
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
        """Stream the rows, or only some of their columns, in order."""
        import pyarrow.parquet as parquet

        for part in sorted(self.path.glob("part-*.parquet")):
            for batch in parquet.ParquetFile(part).iter_batches(batch_size=1024, columns=columns):
                yield from batch.to_pylist()

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
        """Write one part, whole or not at all."""
        import pyarrow as pa
        import pyarrow.parquet as parquet

        table = pa.Table.from_pylist(rows, schema=_schema(self.COLUMNS))
        draft = self.path / f".part-{index:05d}"
        parquet.write_table(table, draft, compression="zstd")
        os.replace(draft, self._part(index))

    def has_part(self, index: int) -> bool:
        """Whether a part was written before an interruption."""
        return self._part(index).exists()

    def _part(self, index: int) -> Path:
        return self.path / f"part-{index:05d}.parquet"


class Prompts(Table):
    """Conversations that wait for an answer."""

    COLUMNS: ClassVar = {"prompt_id": "text", "prompt": "messages"}


class Completions(Table):
    """Sampled answers. ``completion_tokens`` are the generated ids, with the end-of-turn id only if it was generated;
    ``finish_reason`` is ``stop`` if it was, else ``length``."""

    COLUMNS: ClassVar = {
        **Prompts.COLUMNS,
        "sample": "integer",
        "completion": "messages",
        "finish_reason": "text",
        "prompt_tokens": "integers",
        "completion_tokens": "integers",
    }


class Scores(Completions):
    """Completions with a score: higher is better, null where none could be had. Log-probs are token sums in nats;
    ``scored_policy`` is the identity of the model that gave ``policy_logp``."""

    COLUMNS: ClassVar = {
        **Completions.COLUMNS,
        "score": "number",
        "policy_logp": "number",
        "reference_logp": "number",
        "scored_policy": "text",
    }


class Pairs(Table):
    """Preference pairs in trl's conversational columns. Token ids and log-probs are null where nobody has had them yet;
    ``scored_policy`` is the identity of the model that gave ``chosen_logp`` and ``rejected_logp``."""

    COLUMNS: ClassVar = {
        **Prompts.COLUMNS,
        "chosen": "messages",
        "rejected": "messages",
        "chosen_score": "number",
        "rejected_score": "number",
        "margin": "number",
        "source": "text",
        "prompt_tokens": "integers",
        "chosen_tokens": "integers",
        "rejected_tokens": "integers",
        "chosen_logp": "number",
        "rejected_logp": "number",
        "scored_policy": "text",
    }


class Model(Artifact):
    """A directory that ``transformers`` loads: config, safetensors, tokenizer and chat template.

    The end-of-turn ids are those of its generation config. ``lineage.json`` tells what it was trained against.
    """

    @property
    def trained_against(self) -> str | None:
        """Identity of the reference of the preference training that made it; None if that is unknown."""
        lineage = self.path / "lineage.json"
        return json.loads(lineage.read_text(encoding="utf-8"))["trained_against"] if lineage.exists() else None

    def record_lineage(self, trained_from: str, trained_against: str) -> None:
        """Keep what this model was trained from and against."""
        lineage = {"trained_from": trained_from, "trained_against": trained_against}
        (self.path / "lineage.json").write_text(json.dumps(lineage), encoding="utf-8")


class Report(Artifact):
    """What was measured, as one JSON file; its numbers are the step's metrics too."""

    def write(self, contents: Mapping[str, Any]) -> None:
        """Write the report."""
        (self.path / "report.json").write_text(json.dumps(contents, indent=1, allow_nan=False), encoding="utf-8")

    def read(self) -> dict[str, Any]:
        """Read it back."""
        contents: dict[str, Any] = json.loads((self.path / "report.json").read_text(encoding="utf-8"))
        return contents


def _schema(columns: Mapping[str, str]) -> Any:
    import pyarrow as pa

    types = {
        "text": pa.string(),
        "integer": pa.int64(),
        "number": pa.float64(),
        "integers": pa.list_(pa.int32()),
        "messages": pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())])),
    }
    return pa.schema([(name, types[type]) for name, type in columns.items()])
