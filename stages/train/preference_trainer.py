"""trl's DPOTrainer around our log-prob function and our objectives.

The one decision: the trainer is fed token ids and reference log-probs, so nothing is rendered, tokenised or passed
through a reference here; a few of its methods are replaced and everything else is trl's.
"""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from stages.artifacts import Model, Row
from stages.progress import progress
from stages.train.checkpoints import Resumable
from stages.train.curve import watcher
from stages.train.fitting import arguments, fit, loaded_for_training
from stages.train.launch import launched
from stages.train.pair_rows import OWN
from stages.train.shards import shared_while_it_trains

if TYPE_CHECKING:
    from stages.train.pair_objective import Objective
    from stages.train.training import Training


def train(
    settings: "Training", rows: list[Row], objective: "Objective", policy: Model, out: Model, from_reference: bool
) -> dict[str, float]:
    """Train, from the last checkpoint if an earlier attempt left one, and save.

    Returns first and last loss and what the pairs' log-probs did.

    Args:
        rows: see pair_rows; in whole batches.
        from_reference: whether the policy begins as its own reference, so that the first log-ratio must be 0.
    """
    return launched(settings.execution.launch, _train, settings, rows, objective, policy, out, from_reference)


def _train(
    settings: "Training", rows: list[Row], objective: "Objective", policy: Model, out: Model, from_reference: bool
) -> dict[str, float]:
    from datasets import Dataset
    from trl import DPOConfig

    from stages.engines.models import load_tokenizer

    steps = len(rows) // settings.batch
    args = arguments(DPOConfig, settings, steps, out.scratch, precompute_ref_log_probs=True)
    with progress("training", steps, "steps") as bar:
        trainer = _trainer_class()(
            model=loaded_for_training(policy, settings),
            args=args,
            train_dataset=Dataset.from_list(rows),
            data_collator=collated,
            processing_class=load_tokenizer(policy),
            callbacks=[watcher(bar, from_reference)],
        )
        trainer.objective = objective
        # Whoever shards weights or sums gradients over processes does it around the model's forward, so that is ours.
        trainer.model.forward = partial(objective, trainer.model)
        return fit(trainer, settings, policy, out)


def collated(rows: Sequence[Row]) -> dict[str, Any]:
    """Chosen answers first, then rejected, as ``packed``; numbers as tensors [pairs], other columns as lists."""
    import torch

    from stages.engines.packed import packed

    sides = ("chosen", "rejected")
    batch: dict[str, Any] = {
        "packed": packed([(row["prompt_tokens"], row[f"{side}_tokens"]) for side in sides for row in rows])
    }
    for name in rows[0].keys() - set(OWN):
        values = [row[name] for row in rows]
        batch[name] = torch.tensor(values) if isinstance(values[0], float) else values
    return batch


def _remembered(history: list[dict[str, Any]]) -> list[float]:
    """What the objective knew at the last log entry, which a checkpoint holds."""
    return list(history[-1].get("memory", [])) if history else []


def _trainer_class() -> type:
    from trl import DPOTrainer

    class PreferenceTrainer(Resumable, DPOTrainer, shared_while_it_trains(DPOTrainer.__base__)):  # type: ignore[misc]
        objective: "Objective"
        memory: list[float] | None = None

        def _prepare_dataset(self, dataset: Any, *arguments: Any) -> Any:
            return dataset

        def _precompute_ref_logps(self, dataset: Any, *arguments: Any) -> Any:
            return dataset

        def get_batch_samples(self, *arguments: Any) -> Any:
            """An optimizer step's micro-batches; the objective sees them all before it learns from one."""
            batches, count = super().get_batch_samples(*arguments)
            with self.accelerator.autocast():
                self.objective.before_step(self.model, batches)
            return batches, count

        def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
            """What the objective remembers goes into each entry, and with it into every checkpoint."""
            super().log(logs, start_time)
            if self.memory:
                self.state.log_history[-1]["memory"] = list(self.memory)

        def _compute_loss(self, model: Any, inputs: dict[str, Any], return_outputs: bool) -> Any:
            assert not return_outputs
            if self.memory is None:
                self.memory = _remembered(self.state.log_history)
            done = self.state.global_step / self.state.max_steps
            loss, told = model(inputs, done, self.memory)
            for name, values in told.items():
                self._metrics["train"][name].append(self.accelerator.gather(values.detach()).mean().item())
            return loss

    return PreferenceTrainer
