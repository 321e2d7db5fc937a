"""What a training foresees: how much it passes, and what that takes.

The one decision: weights, gradients and moments are certain and are what a training is refused for; activations are
those of one micro-batch, whose rows are taken to be as long as they may be, and are an estimate.
"""

from dataclasses import replace
from math import isnan, nan
from typing import TYPE_CHECKING

from stages.engines.engine import there
from stages.engines.memory import CHUNK, TRAINED, adapter_weights, four_bits, passing, training
from stages.foreseen import WIDTHS, Foreseen, Size, passed
from stages.train.launch import Launch
from stages.train.pair_rows import BATCH_TOKENS

if TYPE_CHECKING:
    from stages.train.training import Training


def trained(settings: "Training", policy: Size, table: Size, answers: int = 2) -> Foreseen:
    """A policy trained on rows of a table, each a prompt with so many answers."""
    known = settings.max_steps is not None or not isnan(table.rows)
    steps = float(settings.steps(1 if isnan(table.rows) else round(table.rows))) if known else nan
    tokens = steps * settings.batch * answers * table.answer
    together = settings.micro_batch * (table.prompt + answers * table.answer)
    least = _held(settings, policy) / _shards(settings)
    logits = together if settings.execution.shares else min(CHUNK, together)
    activations = training(policy, together, settings.dtype, settings.execution.checkpointing, logits)
    held, before = least + _copies(settings, policy) + activations, _before(settings, policy, table)
    return Foreseen(
        size=replace(policy, bytes=policy.parameters * WIDTHS[settings.dtype]),
        tokens=tokens,
        at_most=table.at_most,
        work=tokens * policy.parameters,
        memory=held if isnan(before.memory) else max(held, before.memory),
        least=least,
        devices=max(settings.execution.processes, before.devices),
        only_gpus=bool((launch := settings.execution.launch) and launch.deepspeed),
        kept=_kept(settings, policy),
    )


def _before(settings: "Training", policy: Size, table: Size) -> Foreseen:
    """What it takes while the reference, which is of the policy's size, gives log-probs that pairs do not bring."""
    reference = replace(policy, bytes=four_bits(policy)) if settings.four_bits else policy
    told = passed(table, reference, answers=table.rows, memory=passing(policy, BATCH_TOKENS))
    return there(settings.reading, told)


def _kept(settings: "Training", policy: Size) -> float | None:
    """Bytes of an adapter that is handed on over hard links to its base."""
    adapter = settings.adapter
    if adapter is None or adapter.merged:
        return None
    return WIDTHS["float32"] * adapter_weights(policy, adapter.r, adapter.targets)


def _held(settings: "Training", policy: Size) -> float:
    """Weights, gradients and moments: of all weights, or of an adapter over a base as it is stored or in four bits. nan
    where some of it lies beside the device."""
    if _offloads(settings.execution.launch):
        return nan
    adapter = settings.adapter
    if adapter is None:
        return TRAINED * policy.parameters
    base = four_bits(policy) if adapter.four_bits else policy.bytes
    return base + TRAINED * adapter_weights(policy, adapter.r, adapter.targets)


def _copies(settings: "Training", policy: Size) -> float:
    """Copies of weights that are there while they compute: of one layer, where each device holds a share of it, or all
    in two bytes, where float32 weights are multiplied in bfloat16."""
    if _shards(settings) > 1:
        return WIDTHS["float32"] * policy.parameters / policy.layers
    return 2 * policy.parameters if settings.adapter is None and settings.dtype == "bfloat16" else 0.0


def _shards(settings: "Training") -> int:
    """Devices that share out weights, gradients and moments among them."""
    return settings.execution.processes if settings.execution.shares else 1


def _offloads(launch: Launch | None) -> bool:
    """Whether FSDP or DeepSpeed is told to keep some of a model in the machine's memory."""
    if launch is None:
        return False
    zero = (launch.deepspeed or {}).get("zero_optimization", {})
    devices = [zero.get(name, {}).get("device", "none") for name in ("offload_optimizer", "offload_param")]
    return bool((launch.fsdp or {}).get("cpu_offload")) or devices != ["none", "none"]
