"""Direct preference optimisation, by trl's trainer.

The one decision: optimizer, schedule, accumulation, distribution and logging are trl's; log-probs and loss are ours, so
that scoring, reference and training share one function and the first loss against one's own reference is ln 2.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from stages.artifacts import Model, Pairs


@dataclass(frozen=True, kw_only=True)
class DPO:
    """Train the policy on pairs with −log σ(βΔ) against a reference (arXiv 2305.18290).

    Args:
        beta: β of the loss.
        learning_rate: AdamW's.
        max_steps: optimizer steps.
        batch: pairs an optimizer step.
        schedule: of the learning rate. ``constant`` with warm-up is refused: transformers would ignore the warm-up.
        warmup_steps: of a schedule that has them.
        max_tokens: prompt and answer together; a longer pair is dropped and counted, never cut.
        max_grad_norm: gradients are clipped to it.
        seed: of the order of the pairs.
        dtype: of the saved weights, and so of everything that reads them. bfloat16 halves files and time and rounds
            away an update of less than half a unit in the last place, which at these learning rates is most of them.
            Training itself always keeps float32 weights.
        micro_batch: pairs that are in memory at once, a divisor of the batch; speed only.
        checkpointing: compute activations twice instead of keeping them; memory only.
        checkpoint_every: optimizer steps after which a killed training can go on from there with the same trajectory.
    """

    VERSION: ClassVar[int] = 1
    RESUMES: ClassVar[bool] = True

    beta: float
    learning_rate: float
    max_steps: int
    batch: int
    schedule: Literal["constant", "constant_with_warmup", "linear", "cosine"] = "constant"
    warmup_steps: int = 0
    max_tokens: int = 4096
    max_grad_norm: float = 1.0
    seed: int = 0
    dtype: Literal["float32", "bfloat16"] = "float32"
    micro_batch: int = field(default=4, compare=False)
    checkpointing: bool = field(default=False, compare=False)
    checkpoint_every: int = field(default=50, compare=False)

    def __post_init__(self) -> None:
        for name in (
            "beta",
            "learning_rate",
            "max_steps",
            "batch",
            "max_tokens",
            "max_grad_norm",
            "micro_batch",
            "checkpoint_every",
        ):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be above 0, not {getattr(self, name)}")
        if self.batch % min(self.batch, self.micro_batch):
            raise ValueError(f"micro_batch ({self.micro_batch}) must divide batch ({self.batch})")
        if self.warmup_steps < 0 or self.warmup_steps > self.max_steps:
            raise ValueError(f"warmup_steps must be in [0, max_steps], not {self.warmup_steps}")
        if self.warmup_steps and self.schedule == "constant":
            raise ValueError("a constant schedule ignores warmup_steps; say schedule: constant_with_warmup")

    def __call__(self, *, pairs: Pairs, policy: Model, reference: Model, out: Model) -> Mapping[str, float]:
        """A trained copy of the policy.

        Raises:
            ValueError: no pair is left, or policy = reference and the first loss is not ln 2.
        """
        from stages.engines.models import release
        from stages.train.pair_rows import pair_rows
        from stages.train.preference_trainer import train

        rows, counts = pair_rows(pairs, policy, reference, self.max_tokens)
        release()
        metrics = train(self, rows, policy, out, from_reference=policy.identity == reference.identity)
        out.record_lineage(trained_from=policy.identity, trained_against=reference.identity)
        return metrics | {name: float(count) for name, count in counts.items()}
