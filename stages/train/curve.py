"""The curve of a preference training: recorded, checked as it grows, kept with the model.

The one decision: numbers that go wrong stop the training at once, with what they were and where.
"""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from stages.artifacts import Model

TOLD = ("loss", "grad_norm", "learning_rate", "margin", "accuracy", "chosen_logp_change", "rejected_logp_change")
TOLERANCE = 0.05
"""How far the first loss against one's own reference may be from ln 2: about what bfloat16 noise does to it."""


def watcher(bar: Any, from_reference: bool) -> Any:
    """A callback that moves the progress bar and stops a training whose numbers are wrong."""
    from transformers import TrainerCallback

    class Watcher(TrainerCallback):  # type: ignore[misc]
        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            bar.update(state.global_step)

        def on_log(self, args: Any, state: Any, control: Any, logs: Mapping[str, float], **_: Any) -> None:
            if "loss" in logs:
                check(state.global_step, logs, from_reference)
                bar.update(1)

    return Watcher()


def check(step: int, logs: Mapping[str, float], from_reference: bool) -> None:
    """
    Raises:
        ValueError: the newest loss or gradient is not a number, or the first loss is not ln 2 where it must be.
    """
    for name in ("loss", "grad_norm"):
        if not math.isfinite(float(logs.get(name, 0.0))):
            raise ValueError(f"{name} is {logs[name]} at step {step}: the learning rate may be too high")
    if from_reference and step == 1 and abs(float(logs["loss"]) - math.log(2)) > TOLERANCE:
        raise ValueError(
            f"the first loss is {float(logs['loss']):.4f}, but against its own reference it must be ln 2 = 0.6931: the "
            "reference log-probs were made with other weights, another chat template or another precision"
        )


def keep(history: Sequence[Mapping[str, float]], out: Model) -> dict[str, float]:
    """Write the curve as ``curve.jsonl``, a row an optimizer step; returns where the training began and ended."""
    curve = [
        {"step": entry["step"], **{name: float(entry[name]) for name in TOLD if name in entry}}
        for entry in history
        if "loss" in entry
    ]
    (out.path / "curve.jsonl").write_text("".join(json.dumps(row) + "\n" for row in curve), encoding="utf-8")
    first, last = curve[0], curve[-1]
    return {
        "first_loss": first["loss"],
        "last_loss": last["loss"],
        "last_margin": last["margin"],
        "last_accuracy": last["accuracy"],
        "chosen_logp_change": last["chosen_logp_change"],
        "rejected_logp_change": last["rejected_logp_change"],
    }
