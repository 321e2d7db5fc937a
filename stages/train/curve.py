"""The curve of a training: recorded, checked as it grows, kept with the model.

The one decision: numbers that go wrong stop the training at once, with what they were and where.
"""

import json
import math
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from stages.artifacts import Model

UNTOLD = ("epoch", "memory", "num_tokens", "mean_token_accuracy")
"""What says nothing of the training, or is a mean over micro-batches whatever their tokens."""
ENDS = ("loss", "gap", "accuracy", "chosen_logp_change", "rejected_logp_change")
SHARES = ("smoothed", "agreeing")
TOLERANCE = 1.0
"""How far the first log-probs may be from those of one's own reference, in nats: what bfloat16 noise does to them."""


def watcher(bar: Any, from_reference: bool) -> Any:
    """A callback that moves the progress bar and stops a training whose numbers are wrong."""
    from transformers import TrainerCallback

    class Watcher(TrainerCallback):  # type: ignore[misc]
        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            bar.skip(state.global_step)

        def on_log(self, args: Any, state: Any, control: Any, logs: Mapping[str, float], **_: Any) -> None:
            if "loss" in logs:
                check(state.global_step, logs, from_reference)
                bar.update(1)

    return Watcher()


def check(step: int, logs: Mapping[str, float], from_reference: bool) -> None:
    """
    Raises:
        ValueError: the newest loss or gradient is not a number, or the policy does not begin as its own reference where
            it must, so that DPO's first loss would not be ln 2.
    """
    for name in ("loss", "grad_norm"):
        if not math.isfinite(float(logs.get(name, 0.0))):
            raise ValueError(
                f"{name} is {logs[name]} at step {step}; no weights of it are kept. Likely causes: a learning rate "
                "that is too high, a precision too narrow (dtype), or, at step 1, log-probs that were not finite before"
            )
    changes = [float(logs[f"{side}_logp_change"]) for side in ("chosen", "rejected")] if from_reference else []
    if step == 1 and any(abs(change) > TOLERANCE for change in changes):
        raise ValueError(
            f"the policy begins as its own reference, but its log-probs differ from it by {changes[0]:+.2f} nats "
            f"(chosen) and {changes[1]:+.2f} (rejected), so the first loss ({float(logs['loss']):.4f}) is not ln 2: "
            "the reference log-probs were made with other weights, another chat template or another precision"
        )


def keep(history: Sequence[Mapping[str, float]], out: Model) -> dict[str, float]:
    """Write the curve as ``curve.jsonl``, a row an optimizer step; returns where the training began and ended."""
    curve = [
        {name: value if name == "step" else float(value) for name, value in entry.items() if name not in UNTOLD}
        for entry in history
        if "loss" in entry
    ]
    (out.path / "curve.jsonl").write_text(
        "".join(json.dumps(row, sort_keys=True) + "\n" for row in curve), encoding="utf-8"
    )
    first, last = curve[0], curve[-1]
    told = {"steps": float(len(curve)), "first_loss": first["loss"]}
    told |= {f"last_{name}": last[name] for name in ENDS if name in last}
    told |= {name: fmean(row[name] for row in curve) for name in SHARES if name in last}
    if "agreeing" in last:
        told["steps_without_agreement"] = float(sum(row["agreeing"] == 0 for row in curve))
    return told
