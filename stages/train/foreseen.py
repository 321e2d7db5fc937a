"""What a training foresees: how much it passes, and what that takes.

The one decision: weights, gradients and moments are certain and are what a training is refused for; activations are
those of one micro-batch, whose rows are taken to be as long as they may be, and are an estimate.
"""

from dataclasses import replace
from math import isnan, nan
from typing import TYPE_CHECKING

from stages.engines.memory import TRAINED, training
from stages.foreseen import WIDTHS, Foreseen, Size

if TYPE_CHECKING:
    from stages.train.training import Training


def trained(settings: "Training", policy: Size, table: Size, answers: int = 2) -> Foreseen:
    """A policy trained on rows of a table, each a prompt with so many answers."""
    known = settings.max_steps is not None or not isnan(table.rows)
    steps = float(settings.steps(round(table.rows) if not isnan(table.rows) else 1)) if known else nan
    tokens = steps * settings.batch * answers * table.answer
    together = settings.micro_batch * (table.prompt + answers * table.answer)
    state = TRAINED * policy.parameters
    return Foreseen(
        size=replace(policy, bytes=policy.parameters * WIDTHS[settings.dtype]),
        tokens=tokens,
        at_most=table.at_most,
        work=tokens * policy.parameters,
        memory=state + training(policy, together, settings.execution.checkpointing),
        least=state,
    )
