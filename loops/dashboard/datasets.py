"""What a step read and made, as MLflow's data sets: a name, a digest and where it lies.

The one decision: a step's key is the digest of what it made. So a data set is the same one wherever it is read, no byte
of it is read to say so, and following a data set from the run that made it to those that read it is following the plan.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from loops.dashboard.finished import Finished
from loops.plan import Step

CONTEXT = "mlflow.data.context"
"""The tag that says what a data set was to a run: the name of the input, or ``MADE``."""
MADE = "made"


def log(client: Any, run: str, each: Finished) -> None:
    """Log what a step read and made with its run."""
    client.log_inputs(run, list(_entries(each)))


def log_material(client: Any, run: str, each: Finished) -> None:
    """Log what a step made with a run that stands on it."""
    client.log_inputs(run, [_entry(each.step, each.artifact, each.step.node, _described(each))])


def _entries(each: Finished) -> Iterator[Any]:
    for name, source in each.step.inputs.items():
        yield _entry(source, each.artifact_of(source), name, {})
    yield _entry(each.step, each.artifact, MADE, _described(each))


def _entry(step: Step, artifact: Path, context: str, described: dict[str, str]) -> Any:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    source = json.dumps({"uri": str(artifact.resolve())})
    dataset = Dataset(step.node, step.key, source_type="local", source=source, **described)
    return DatasetInput(dataset, [InputTag(CONTEXT, context)])


def _described(each: Finished) -> dict[str, str]:
    """Its size, and the columns and rows of a table. MLflow keeps what the first run says, which made it."""
    profile: dict[str, int] = {"bytes": sum(file["size"] for file in each.manifest.files.values())}
    parts = sorted(each.artifact.glob("part-*.parquet"))
    if not parts:
        return {"profile": json.dumps(profile)}
    import pyarrow.parquet as parquet

    columns = [{"name": column.name, "type": str(column.type)} for column in parquet.read_schema(parts[0])]
    profile["rows"] = sum(parquet.read_metadata(part).num_rows for part in parts)
    return {"profile": json.dumps(profile), "schema": json.dumps({"mlflow_colspec": columns})}
