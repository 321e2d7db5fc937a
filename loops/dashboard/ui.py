"""MLflow's UI, opened where the charts are.

The one decision: the server is MLflow's own and takes this process's place, so it ends with Ctrl-C as always. What is
added is the link to the view, which is printed first.
"""

import os
import sys

from loops.console import say
from loops.dashboard import views
from loops.dashboard.ledger import opened
from loops.errors import RecipeError
from loops.record import Record


def serve(record: Record, port: int) -> None:
    """Say where the charts of a run are, and serve them if they lie in a local file; then it does not return.

    Raises:
        RecipeError: nobody was told of the run.
    """
    told = record.tracker
    uri, experiment = told.get("uri"), told.get("experiment")
    if not uri or not experiment:
        raise RecipeError(f"nobody was told of {record.run}; say it again with tracker=mlflow: {record.command}")
    served = uri.startswith("http")
    client, place = opened(uri, experiment, told.get("artifacts"))
    views.offer(client, place, (told.get("shown") or {}).get("charts", {}), dict.fromkeys(s.node for s in record.steps))
    server = uri.rstrip("/") if served else f"http://127.0.0.1:{port}"
    say(f"the charts: {views.link(server, place)}")
    if not served:
        os.execv(sys.executable, command(uri, port))


def command(uri: str, port: int) -> list[str]:
    """What serves a local file, to this machine alone."""
    words = ["ui", "--backend-store-uri", uri, "--host", "127.0.0.1", "--port", str(port)]
    return [sys.executable, "-m", "mlflow", *words]
