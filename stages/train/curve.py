"""The curve of a preference training: recorded, checked as it grows, kept with the model.

The one decision: numbers that go wrong stop the training at once, with what they were and where.
"""

import json
import math
from collections.abc import Mapping
from typing import Any

from stages.artifacts import Model

TOLD = ("loss", "grad_norm", "learning_rate", "margin", "accuracy", "chosen_logp_change", "rejected_logp_change")
TOLERANCE = 0.05
"""How far the first loss against one's own reference may be from ln 2: about what bfloat16 noise does to it."""


def recorder(curve: list[dict[str, float]], bar: Any, from_reference: bool) -> Any:
    """A callback that keeps the curve and stops a training whose numbers are wrong."""
    from transformers import TrainerCallback

    class Recorder(TrainerCallback):  # type: ignore[misc]
        def on_log(self, args: Any, state: Any, control: Any, logs: Mapping[str, float], **_: Any) -> None:
            if "loss" not in logs:
                return
            curve.append({"step": state.global_step, **{name: float(logs[name]) for name in TOLD if name in logs}})
            _check(curve, from_reference)
            bar.update(1)

    return Recorder()


def _check(curve: list[dict[str, float]], from_reference: bool) -> None:
    """
    Raises:
        ValueError: the newest loss or gradient is not a number, or the first loss is not ln 2 where it must be.
    """
    newest = curve[-1]
    for name in ("loss", "grad_norm"):
        if not math.isfinite(newest.get(name, 0.0)):
            raise ValueError(f"{name} is {newest[name]} at step {newest['step']}: the learning rate may be too high")
    if from_reference and len(curve) == 1 and abs(newest["loss"] - math.log(2)) > TOLERANCE:
        raise ValueError(
            f"the first loss is {newest['loss']:.4f}, but against its own reference it must be ln 2 = 0.6931: the "
            "reference log-probs were made with other weights, another chat template or another precision"
        )


def summary(curve: list[dict[str, float]]) -> dict[str, float]:
    """Where a training began and ended."""
    first, last = curve[0], curve[-1]
    return {
        "first_loss": first["loss"],
        "last_loss": last["loss"],
        "last_margin": last["margin"],
        "last_accuracy": last["accuracy"],
        "chosen_logp_change": last["chosen_logp_change"],
        "rejected_logp_change": last["rejected_logp_change"],
    }


def write(curve: list[dict[str, float]], out: Model) -> None:
    """Keep it as ``curve.jsonl``, a row an optimizer step."""
    (out.path / "curve.jsonl").write_text("".join(json.dumps(row) + "\n" for row in curve), encoding="utf-8")
