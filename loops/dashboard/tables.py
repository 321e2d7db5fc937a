"""A sample of a step's rows as a table that MLflow's UI shows: prompts, answers, scores, a judge's words.

The one decision: the table is the artifact that ``log_table`` would write, told as one text without secrets, so nothing
is read back and a step that is told again replaces it.
"""

import json
from collections.abc import Sequence
from typing import Any

from loops.dashboard.shown import Row
from loops.secrets import hidden

FILE = "sample.json"
TAG = ("mlflow.loggedArtifacts", json.dumps([{"path": FILE, "type": "table"}]))
"""Name and value of the tag of a run that has the table, by which the UI finds it."""


def log(client: Any, run: str, rows: Sequence[Row]) -> None:
    """Log rows, which all have the columns of the first, with a run that has the tag."""
    table = {"columns": list(rows[0]), "data": [list(row.values()) for row in rows]}
    client.log_text(run, hidden(json.dumps(table)), FILE)
