"""Some of a judge's calls as MLflow traces: what it was shown, what it said, and the score that was read from it.

The one decision: a trace's id follows from the loop, the step and its place, so one that is told again is the same one.
When a single call began and ended nobody has kept: all calls of a step stand at the time when the step was made.
"""

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from loops.dashboard.finished import Finished
from loops.dashboard.runs import Runs
from loops.dashboard.shown import Row
from loops.secrets import hidden

PREVIEW = 1000
"""Letters of a text in the list of traces."""


def log(uri: str, runs: Runs, run: str, each: Finished, judgements: Sequence[Row]) -> None:
    """Log judgements with the run of the step that holds them."""
    from mlflow.entities import Span
    from mlflow.tracing.client import TracingClient

    client = TracingClient(uri)
    spans = []
    for place, judgement in enumerate(json.loads(hidden(json.dumps(list(judgements))))):
        digest = hashlib.sha256(f"{runs.loop} {each.step.id} {each.step.key} {place}".encode()).hexdigest()
        client.start_trace(_info(f"tr-{digest[:32]}", runs, run, each, judgement))
        spans.append(Span.from_dict(_span(digest, each, judgement)))
    client.log_spans(runs.experiment, spans)


def _info(id: str, runs: Runs, run: str, each: Finished, judgement: Row) -> Any:
    from mlflow.entities import TraceInfo, TraceLocation, TraceState

    tags = {**runs.tags, "loop": runs.loop, "round": str(each.step.round), "step": each.step.id}
    return TraceInfo(
        trace_id=id,
        trace_location=TraceLocation.from_experiment_id(runs.experiment),
        request_time=each.ended,
        state=TraceState.OK,
        execution_duration=0,
        request_preview=json.dumps(judgement["inputs"], ensure_ascii=False)[:PREVIEW],
        response_preview=json.dumps(judgement["outputs"], ensure_ascii=False)[:PREVIEW],
        trace_metadata={"mlflow.sourceRun": run},
        tags={**tags, "mlflow.traceName": each.step.node, "judge": judgement["judge"]},
        assessments=[_score(id, judgement, each.ended)],
    )


def _score(id: str, judgement: Row, ended: int) -> Any:
    """The score as feedback of the judge; none could be read where it is null."""
    from mlflow.entities import AssessmentError, AssessmentSource, AssessmentSourceType, Feedback

    source = AssessmentSource(AssessmentSourceType.LLM_JUDGE, judgement["judge"])
    unread = AssessmentError(error_code="UNREAD", error_message="no score could be read")
    score = judgement["score"]
    feedback = Feedback(
        name="score",
        value=score,
        error=unread if score is None else None,
        source=source,
        trace_id=id,
        create_time_ms=ended,
        last_update_time_ms=ended,
    )
    feedback.assessment_id = f"a-{id[3:]}"
    return feedback


def _span(digest: str, each: Finished, judgement: Row) -> dict[str, Any]:
    """The call as a span, in the form that MLflow reads back from its files."""
    attributes = {
        "mlflow.traceRequestId": f"tr-{digest[:32]}",
        "mlflow.spanType": "LLM",
        "mlflow.spanInputs": judgement["inputs"],
        "mlflow.spanOutputs": judgement["outputs"],
        "mlflow.llm.model": judgement["judge"],
        "step": each.step.id,
    }
    at = each.ended * 1_000_000
    return {
        "name": each.step.node,
        "context": {"trace_id": f"0x{digest[:32]}", "span_id": f"0x{digest[32:48]}"},
        "parent_id": None,
        "start_time": at,
        "end_time": at,
        "status_code": "OK",
        "status_message": "",
        "attributes": {name: json.dumps(value, ensure_ascii=False) for name, value in attributes.items()},
        "events": [],
    }
