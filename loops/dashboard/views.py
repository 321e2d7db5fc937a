"""The charts that the dashboard opens with: questions, and the metrics over rounds that answer them.

The one decision: charts are a view that MLflow's UI can save and share, kept as a tag of the experiment in the form
that the UI gives it. So nothing has to be clicked, and a person can change the charts and save them.

MLflow keeps any other choice of charts in the browser. The view is opened by a link, or from the menu "Views".
"""

import base64
import json
import time
import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from loops.dashboard.runs import LOOP

KEY = "loops"
"""What the view is called in links and in its tag."""
TAG = f"mlflow.sharedViewState.{KEY}"
NAME, OURS = "Loops by round", "loops"
"""What the menu calls it, and how it is told from a view that a person has saved over it."""
PACKED = "deflate;"
"""How the UI knows that the view is compressed, as it is for MLflow's limit of 20,000 letters in a tag."""
KIND = {"mlflow.experimentKind": "custom_model_development"}
"""The tag that lets the experiment open on its runs; where there are traces MLflow would guess at an agent."""

Charts = Mapping[str, Sequence[Sequence[str]]]


def offer(client: Any, experiment: str, charts: Charts, nodes: Iterable[str]) -> None:
    """Save the view with the experiment, unless a person has changed it.

    Args:
        client, experiment: MLflow's client, and the experiment's id.
        charts: by question, those that answer it, each the metrics in it; the UI makes their titles of these.
        nodes: of the loop. Each is a folded section, behind the questions, with all its metrics.
    """
    tags = client.get_experiment(experiment).tags
    before = saved(tags.get(TAG))
    if before is None:
        return
    known = [section["name"] for section in before.get("compareRunSections", [])]
    view = state(charts, dict.fromkeys([*(name for name in known if name not in charts), *nodes]))
    if view != before:
        now = int(time.time() * 1000)
        packed = PACKED + base64.b64encode(zlib.compress(json.dumps(view).encode())).decode()
        named = {"name": NAME, "createdAt": now, "updatedAt": now, "state": packed, "by": OURS}
        client.set_experiment_tag(experiment, TAG, json.dumps(named))
    for name, value in KIND.items():
        if name not in tags:
            client.set_experiment_tag(experiment, name, value)


def state(charts: Charts, nodes: Iterable[str]) -> dict[str, Any]:
    """The view as MLflow's UI has it: only the loops' own runs, and lines over rounds."""
    drawn = [_line(question, metrics) for question, answers in charts.items() for metrics in answers]
    return {
        "searchFilter": f'tags.kind = "{LOOP}"',
        "selectedColumns": ["attributes.`Dataset`", "tags.`recipe`", "tags.`model`", "tags.`gate`"],
        "compareRunCharts": drawn,
        "compareRunSections": [*(_section(name, True) for name in charts), *(_section(name, False) for name in nodes)],
        "isAccordionReordered": True,
    }


def link(server: str, experiment: str) -> str:
    """Where a browser finds the view."""
    asked = f"viewStateShareKey={KEY}&compareRunsMode=CHART&workflowType=machine_learning"
    return f"{server}/#/experiments/{experiment}/runs?{asked}"


def saved(tag: str | None) -> dict[str, Any] | None:
    """The view in the experiment's tag; empty if there is none yet, None if a person has saved over ours."""
    if tag is None:
        return {}
    found = json.loads(tag)
    if found.get("by") != OURS:
        return None
    view: dict[str, Any] = json.loads(zlib.decompress(base64.b64decode(found["state"].removeprefix(PACKED))))
    return view


def _section(name: str, unfolded: bool) -> dict[str, Any]:
    return {"uuid": name, "name": name, "display": unfolded, "isReordered": False, "deleted": False, "cardHeight": 280}


def _line(question: str, metrics: Sequence[str]) -> dict[str, Any]:
    return {
        "type": "LINE",
        "uuid": f"{question} {' '.join(metrics)}",
        "metricSectionId": question,
        "metricKey": metrics[0],
        "selectedMetricKeys": list(metrics),
        "xAxisKey": "step",
        "displayPoints": True,
        "runsCountToCompare": 10,
        "isGenerated": False,
        "deleted": False,
        "lineSmoothness": 0,
        "xAxisScaleType": "linear",
        "scaleType": "linear",
        "range": {},
        "yAxisKey": "metric",
        "yAxisExpressions": [],
        "useGlobalXaxisKey": False,
        "useGlobalLineSmoothing": False,
    }
