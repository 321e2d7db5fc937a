"""What every training does around its trainer: order of rows, arguments, resuming, saving.

The one decision: exactly the rows that are trained on are laid out beforehand, in whole batches, so that how a batch is
split into micro-batches changes nothing but memory and speed.
"""

import math
import random
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.artifacts import Model, Row
from stages.seeds import derive
from stages.train.checkpoints import last_whole, seal

if TYPE_CHECKING:
    from stages.train.training import Training


def in_order(rows: list[Row], settings: "Training") -> list[Row]:
    """Exactly the rows that are trained on: one seeded shuffle after another, each batch sorted by length.

    A batch's rows count alike wherever they stand in it, and sorted ones share micro-batches of about one size.
    """
    steps, batch = settings.steps(len(rows)), settings.batch
    order: list[Row] = []
    for epoch in range(math.ceil(steps * batch / len(rows))):
        order += random.Random(derive("epoch", settings.seed, epoch)).sample(rows, len(rows))
    batches = (order[first : first + batch] for first in range(0, steps * batch, batch))
    return [row for together in batches for row in sorted(together, key=_tokens)]


def _tokens(row: Row) -> int:
    answers = (row[name] for name in ("chosen_tokens", "rejected_tokens", "answer_tokens") if name in row)
    return len(row["prompt_tokens"]) + max(map(len, answers), default=0)


def loaded_for_training(policy: Model) -> Any:
    """The policy's weights, in float32, to be trained."""
    import torch
    from transformers import AutoModelForCausalLM

    from stages.engines.attention import attend_well
    from stages.engines.logprobs import check_head

    model = AutoModelForCausalLM.from_pretrained(
        policy.path, dtype=torch.float32, local_files_only=True, trust_remote_code=False, use_safetensors=True
    )
    attend_well(model)
    check_head(model)
    return model


def arguments(kind: Any, settings: "Training", steps: int, scratch: Path, **more: Any) -> Any:
    """The trainer's arguments, of trl's ``kind``."""
    from transformers.trainer_utils import set_seed

    from stages.engines.models import best_device, multiplies_bfloat16

    set_seed(settings.seed)
    made = kind(
        output_dir=str(scratch),
        learning_rate=settings.learning_rate,
        max_steps=steps,
        per_device_train_batch_size=settings.micro_batch,
        gradient_accumulation_steps=settings.batch // settings.micro_batch,
        lr_scheduler_type=settings.schedule,
        warmup_steps=math.ceil(settings.warmup * steps),
        weight_decay=0.0,
        max_grad_norm=settings.max_grad_norm,
        max_length=None,
        gradient_checkpointing=settings.execution.checkpointing,
        use_cpu=best_device() == "cpu",
        bf16=settings.dtype == "bfloat16" and multiplies_bfloat16(best_device()),
        dataloader_pin_memory=best_device() == "cuda",
        remove_unused_columns=False,
        seed=settings.seed,
        logging_steps=1,
        logging_nan_inf_filter=False,
        save_strategy="steps" if settings.execution.checkpoint_every < steps else "no",
        save_steps=settings.execution.checkpoint_every,
        report_to="none",
        disable_tqdm=True,
        train_sampling_strategy="sequential",
        **more,
    )
    if made.world_size > 1:
        raise ValueError(
            f"a training runs in one process for now, not in {made.world_size}: its batch would grow with them"
        )
    if made.device.type == "cuda":
        made._n_gpu = 1  # one process trains on one device; transformers would wrap the model in DataParallel
    return made


def fit(trainer: Any, out: Model) -> None:
    """Train, from the last whole checkpoint if an earlier attempt left one."""
    from transformers import PrinterCallback

    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(seal())
    trainer.train(resume_from_checkpoint=last_whole(out.scratch))


def save(model: Any, settings: "Training", policy: Model, out: Model) -> None:
    """Save the weights in the precision that was asked for, with the policy's tokenizer and way to end a turn.

    Raises:
        ValueError: a weight is not finite; nothing is saved.
    """
    import torch
    from transformers import GenerationConfig

    from stages.engines.models import check_weights, end_of_turn, load_tokenizer

    model = model.to(getattr(torch, settings.dtype))
    check_weights(model, "the trained model")
    model.generation_config = GenerationConfig.from_pretrained(policy.path, local_files_only=True)
    model.save_pretrained(out.path)
    load_tokenizer(policy).save_pretrained(out.path)
    assert end_of_turn(out) == end_of_turn(policy), "training must not change how a turn ends"
