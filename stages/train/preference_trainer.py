"""trl's DPOTrainer around our log-prob function and our losses.

The one decision: the trainer is fed token ids and reference log-probs, so nothing is rendered, tokenised or passed
through a reference here; a few of its methods are replaced and everything else is trl's.
"""

import math
import random
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.artifacts import Model, Row
from stages.progress import progress
from stages.seeds import derive
from stages.train.curve import keep, watcher

if TYPE_CHECKING:
    from stages.train.dpo import DPO


def train(settings: "DPO", rows: list[Row], policy: Model, out: Model, from_reference: bool) -> dict[str, float]:
    """Train, from the last checkpoint if an earlier attempt left one, and save.

    Returns first and last loss and what the pairs' log-probs did.

    Args:
        from_reference: whether the policy begins as its own reference, so that the first loss must be ln 2.
    """
    import torch
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, GenerationConfig, PrinterCallback
    from transformers.trainer_utils import get_last_checkpoint

    from stages.engines.models import end_of_turn, load_tokenizer

    model = AutoModelForCausalLM.from_pretrained(policy.path, dtype=torch.float32, local_files_only=True)
    with progress("training", settings.max_steps, "steps") as bar:
        trainer = _trainer_class()(
            model=model,
            args=_arguments(settings, out.scratch),
            train_dataset=Dataset.from_list(in_order(rows, settings.max_steps * settings.batch, settings.seed)),
            processing_class=load_tokenizer(policy),
            callbacks=[watcher(bar, from_reference)],
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train(resume_from_checkpoint=get_last_checkpoint(str(out.scratch)))
    model.generation_config = GenerationConfig.from_pretrained(policy.path, local_files_only=True)
    model.to(getattr(torch, settings.dtype)).save_pretrained(out.path)
    load_tokenizer(policy).save_pretrained(out.path)
    assert end_of_turn(out) == end_of_turn(policy), "training must not change how a turn ends"
    return keep(trainer.state.log_history, out)


def in_order(rows: list[Row], count: int, seed: int) -> list[Row]:
    """Exactly the rows that are trained on, one seeded shuffle after another.

    So every optimizer step has a whole batch, and how it is split into micro-batches changes nothing.
    """
    order: list[Row] = []
    for epoch in range(math.ceil(count / len(rows))):
        order += random.Random(derive("epoch", seed, epoch)).sample(rows, len(rows))
    return order[:count]


def _arguments(settings: "DPO", scratch: Path) -> Any:
    from transformers.trainer_utils import set_seed
    from trl import DPOConfig

    from stages.engines.models import best_device, multiplies_bfloat16

    set_seed(settings.seed)
    micro = min(settings.batch, settings.micro_batch)
    arguments = DPOConfig(
        output_dir=str(scratch),
        beta=settings.beta,
        learning_rate=settings.learning_rate,
        max_steps=settings.max_steps,
        per_device_train_batch_size=micro,
        gradient_accumulation_steps=settings.batch // micro,
        lr_scheduler_type=settings.schedule,
        warmup_steps=settings.warmup_steps,
        weight_decay=0.0,
        max_grad_norm=settings.max_grad_norm,
        max_length=None,
        precompute_ref_log_probs=True,
        gradient_checkpointing=settings.checkpointing,
        bf16=settings.dtype == "bfloat16" and multiplies_bfloat16(best_device()),
        dataloader_pin_memory=best_device() == "cuda",
        seed=settings.seed,
        logging_steps=1,
        logging_nan_inf_filter=False,
        save_strategy="steps" if settings.checkpoint_every < settings.max_steps else "no",
        save_steps=settings.checkpoint_every,
        save_total_limit=1,
        report_to="none",
        disable_tqdm=True,
        train_sampling_strategy="sequential",
    )
    if arguments.device.type == "cuda":
        arguments._n_gpu = 1  # one process trains on one device; transformers would wrap the model in DataParallel
    return arguments


def _trainer_class() -> type:
    import torch
    from trl import DPOTrainer

    from stages.engines.logprobs import answer_logprobs
    from stages.train.losses import dpo, log_ratio_gap

    class PreferenceTrainer(DPOTrainer):  # type: ignore[misc]
        def _prepare_dataset(self, dataset: Any, *arguments: Any) -> Any:
            return dataset

        def _precompute_ref_logps(self, dataset: Any, *arguments: Any) -> Any:
            return dataset

        def create_model_card(self, *arguments: Any, **options: Any) -> None:
            """A checkpoint is for resuming only."""

        def _compute_loss(self, model: Any, inputs: Mapping[str, "torch.Tensor"], return_outputs: bool) -> Any:
            assert not return_outputs
            sums = answer_logprobs(model, inputs["input_ids"], inputs["completion_mask"])
            chosen, rejected = sums.chunk(2)
            ref_chosen, ref_rejected = inputs["ref_chosen_logps"], inputs["ref_rejected_logps"]
            gap = log_ratio_gap(chosen, rejected, ref_chosen, ref_rejected)
            told = {
                "margin": self.beta * gap,
                "accuracy": (gap > 0).float(),
                "chosen_logp_change": chosen - ref_chosen,
                "rejected_logp_change": rejected - ref_rejected,
            }
            for name, values in told.items():
                self._metrics["train"][name].append(self.accelerator.gather(values.detach()).mean().item())
            return dpo(gap, self.beta).mean()

    return PreferenceTrainer
