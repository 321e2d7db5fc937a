"""What is said of a loop after it was told: a file with its run, and tags.

The one decision: only a loop that MLflow knows is said something of, and whoever asks is told if it does not.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from loops.dashboard.runs import Runs


def keep(uri: str, experiment: str, loop: str, file: Path) -> bool:
    """Log a file with a loop's run, in place of what was kept under its name; whether there is such a run."""
    client, run = _found(uri, experiment, loop)
    if run:
        client.log_artifact(run, str(file))
    return bool(run)


def tag(uri: str, experiment: str, loop: str, tags: Mapping[str, str]) -> bool:
    """Set tags of a loop's run; whether there is such a run."""
    client, run = _found(uri, experiment, loop)
    for name, value in tags.items() if run else ():
        client.set_tag(run, name, value)
    return bool(run)


def _found(uri: str, experiment: str, loop: str) -> tuple[Any, str]:
    """A client, and the id of the loop's run, or nothing if there is none."""
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    found = client.get_experiment_by_name(experiment)
    run = Runs(client=client, experiment=found.experiment_id, loop=loop, tags={}).of_loop() if found else None
    return client, run.info.run_id if run else ""
