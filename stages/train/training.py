"""What every training has: an optimizer, a schedule, how long, and how much is in memory at once.

The one decision: what changes the weights stands in Training and is identity; what changes memory and speed stands in
Execution and is not.
"""

from dataclasses import dataclass, field
from typing import Literal

from stages.engines.engine import Engine
from stages.engines.tensor_parallel import TensorParallel
from stages.train.adapter import LoRA
from stages.train.launch import Launch


@dataclass(frozen=True, kw_only=True)
class Execution:
    """Memory and speed of a training.

    Args:
        micro_batch: rows that are in memory at once in each process; with all processes a divisor of the batch.
        checkpointing: compute activations twice instead of keeping them.
        checkpoint_every: optimizer steps after which a killed training can go on from there with the same trajectory,
            in more or fewer processes too.
        launch: over many processes; None for the worker's own.
        engine: whose workers compute the log-probs that pairs do not bring, if it has some.
    """

    micro_batch: int = 4
    checkpointing: bool = False
    checkpoint_every: int = 50
    launch: Launch | None = None
    engine: Engine | None = None

    def __post_init__(self) -> None:
        if self.micro_batch < 1 or self.checkpoint_every < 1:
            raise ValueError("micro_batch and checkpoint_every must be at least 1")
        devices = self.engine.devices if isinstance(self.engine, TensorParallel) else 1
        if self.launch and devices > self.launch.processes:
            raise ValueError(
                f"log-probs are computed over {devices} devices, and {self.launch.processes} are trained on: say "
                f"launch.processes={devices}, or a smaller engine.devices"
            )

    @property
    def processes(self) -> int:
        """How many train together."""
        return self.launch.processes if self.launch else 1

    @property
    def shares(self) -> bool:
        """Whether they share out the weights among them."""
        return bool(self.launch and (self.launch.fsdp or self.launch.deepspeed))

    @property
    def layout(self) -> str:
        """How a checkpoint's weights lie: a training goes on only from one that lies as its own do."""
        if self.launch and self.launch.deepspeed:
            return f"deepspeed-{self.launch.processes}"
        return "fsdp" if self.launch and self.launch.fsdp else "whole"

    def in_one_process(self, who: str) -> None:
        """
        Raises:
            ValueError: ``who`` needs to see every pair of a step, in order, and training is spread.
        """
        if self.launch:
            raise ValueError(f"{who} sees all pairs in one order, which many processes do not: say launch=none")


@dataclass(frozen=True, kw_only=True)
class Training:
    """The fields that every training has.

    Args:
        learning_rate: AdamW's.
        max_steps, epochs: how long, in optimizer steps or in passes over the rows; exactly one of the two.
        batch: rows an optimizer step.
        schedule: of the learning rate. ``constant`` with warm-up is refused: transformers would ignore the warm-up.
        warmup: the share of the steps in which the learning rate rises.
        max_tokens: prompt and answer together; a longer row is dropped and counted, never cut.
        max_grad_norm: gradients are clipped to it.
        seed: of the order of the rows.
        dtype: of the saved weights, and so of everything that reads them. bfloat16 halves files and time and rounds
            away an update of less than half a unit in the last place, which at these learning rates is most of them.
            What is trained is always kept in float32.
        adapter: train a low-rank adapter and not the weights; see LoRA.
        execution: memory and speed; not part of the identity.
    """

    learning_rate: float
    max_steps: int | None = None
    epochs: float | None = None
    batch: int
    schedule: Literal["constant", "constant_with_warmup", "linear", "cosine"] = "constant"
    warmup: float = 0.0
    max_tokens: int = 4096
    max_grad_norm: float = 1.0
    seed: int = 0
    dtype: Literal["float32", "bfloat16"] = "float32"
    adapter: LoRA | None = field(default=None, metadata={"added": True})
    execution: Execution = field(default_factory=Execution, compare=False)

    def __post_init__(self) -> None:
        for name in ("learning_rate", "max_steps", "epochs", "batch", "max_tokens", "max_grad_norm"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise ValueError(f"{name} must be above 0, not {value}")
        if (self.max_steps is None) == (self.epochs is None):
            raise ValueError(f"say either max_steps or epochs, not {self.max_steps} and {self.epochs}")
        if self.batch % (self.micro_batch * self.execution.processes):
            times = f" times processes ({self.execution.processes})" if self.execution.processes > 1 else ""
            raise ValueError(f"micro_batch ({self.micro_batch}){times} must divide batch ({self.batch})")
        if not 0 <= self.warmup < 1:
            raise ValueError(f"warmup is a share of the steps, in [0, 1), not {self.warmup}")
        deepspeed = (self.execution.launch and self.execution.launch.deepspeed) or {}
        if self.adapter and self.dtype == "bfloat16" and deepspeed.get("zero_optimization", {}).get("stage") == 3:
            raise ValueError("ZeRO-3 takes no adapter in float32 over a base in bfloat16: say launch=fsdp2")
        if self.warmup and self.schedule == "constant":
            raise ValueError("a constant schedule ignores warmup; say schedule: constant_with_warmup")

    @property
    def micro_batch(self) -> int:
        """Rows in memory at once, never more than a process has of a batch."""
        return min(max(1, self.batch // self.execution.processes), self.execution.micro_batch)

    @property
    def reading(self) -> Engine | None:
        """The engine whose workers compute log-probs before the training; none can in four bits."""
        return None if self.four_bits else self.execution.engine

    @property
    def four_bits(self) -> bool:
        """Whether the base is in four bits while it is trained over; then so is what it is compared with."""
        return self.adapter is not None and self.adapter.four_bits

    def steps(self, rows: int) -> int:
        """Optimizer steps over so many rows; one at least."""
        if self.max_steps is not None:
            return self.max_steps
        assert self.epochs is not None, "one of the two was said"
        return max(1, round(self.epochs * rows / self.batch))
