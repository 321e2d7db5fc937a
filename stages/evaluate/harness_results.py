"""What lm-evaluation-harness found, as a report tells it.

The one decision: what was asked for is told, and how sure it is; everything else that follows from model and tasks
stands in results.json, and nothing that says where and when.
"""

import copy
import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from stages.artifacts import Report
from stages.evaluate.interval import Z, with_interval

KEPT = ("results", "groups", "group_subtasks", "n-samples", "n-shot", "versions", "higher_is_better", "configs")
"""Of what the harness returns, all that follows from the model and the tasks alone."""


def keep(found: Mapping[str, Any], out: Report) -> None:
    """Write results.json, with a hash for each task of all that was asked."""
    from lm_eval.utils import handle_non_serializable, hash_string

    kept = {name: copy.deepcopy(found[name]) for name in KEPT if name in found}
    for config in kept["configs"].values():
        config.get("metadata", {}).pop("config_source", None)
    hashes = ("doc_hash", "prompt_hash", "target_hash")
    kept["task_hashes"] = {
        task: hash_string("".join(sample[name] for sample in samples for name in hashes))
        for task, samples in found["samples"].items()
    }
    text = json.dumps(kept, indent=1, sort_keys=True, default=handle_non_serializable)
    (out.path / "results.json").write_text(text, encoding="utf-8")


def told(found: Mapping[str, Any]) -> Iterator[tuple[str, float | None]]:
    """Every metric with its interval, of tasks and groups that are no part of another group that has one."""
    within = {part for group in found.get("groups", {}) for part in found["group_subtasks"][group]}
    for task, measured in found["results"].items():
        if task in within:
            continue
        count = found["n-samples"].get(task, {}).get("effective", measured.get("sample_len"))
        if count is not None:
            yield _name(task, "questions"), float(count)
        for key, value in measured.items():
            metric, comma, reading = key.partition(",")
            if comma and not metric.endswith("_stderr"):
                name = _name(task, metric) if reading == "none" else _name(task, metric, reading)
                yield from _measured(name, value, measured.get(f"{metric}_stderr,{reading}"), count).items()


def _measured(name: str, value: object, error: object, count: int | None) -> dict[str, float | None]:
    """A metric with its 95 % interval: Wilson's where it is a share, else ± 1.96 standard errors."""
    if not isinstance(value, int | float) or not math.isfinite(value):
        return {name: None}
    if not isinstance(error, int | float) or not math.isfinite(error):
        return {name: float(value)}
    if count is not None and _is_share(value, error, count):
        return {**with_interval(name, float(value), count)}
    return {name: float(value), f"{name}_low": float(value - Z * error), f"{name}_high": float(value + Z * error)}


def _is_share(value: float, error: float, count: int) -> bool:
    """Only of outcomes that are all 0 or 1 is the standard error of their mean √(p(1−p)/(n−1))."""
    if not 0 <= value <= 1 or count < 2:
        return False
    return math.isclose(error, math.sqrt(value * (1 - value) / (count - 1)), abs_tol=1e-9)


def _name(*parts: str) -> str:
    """A metric's name, of what MLflow takes in one."""
    return "/".join(re.sub(r"[^\w.-]", "_", part) for part in parts)
