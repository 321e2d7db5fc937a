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
from stages.train.curve import keep
from stages.train.saving import save
from stages.train.shards import agree, arrange, autocast, begins_empty, empty, gathered

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


def loaded_for_training(policy: Model, settings: "Training") -> Any:
    """The policy, to be trained: its weights in float32, or an adapter in float32 over weights as they are stored.

    Raises:
        ValueError: an adapter is to be handed on over its base, and ``dtype`` is not that of the base.
    """
    from stages.engines.attention import attend_well
    from stages.engines.logprobs import check_head
    from stages.engines.models import stored_dtype
    from stages.train.adapter import begin

    adapter = settings.adapter
    if adapter and not adapter.merged and settings.dtype != stored_dtype(policy):
        raise ValueError(f"the base is stored in {stored_dtype(policy)} and stays so; dtype says {settings.dtype}")
    model = _base(policy, settings)
    if adapter:
        begin(model, policy, adapter, derive("adapter", settings.seed))
    if not begins_empty(settings):
        attend_well(model)
        check_head(model)
    agree(model, settings)
    return model


def _base(policy: Model, settings: "Training") -> Any:
    """What is trained, or what the adapter that is trained is over."""
    from stages.engines.adapters import has_adapter, load_base, merged, whole
    from stages.engines.models import best_device, multiplies_bfloat16

    adapter = settings.adapter
    dtype = "auto" if adapter and multiplies_bfloat16(best_device()) else "float32"
    if begins_empty(settings):
        return empty(whole(policy), dtype)
    if adapter is None and has_adapter(policy):
        return merged(policy, policy.path)
    return load_base(policy, dtype, settings.four_bits)


def arguments(kind: Any, settings: "Training", steps: int, scratch: Path, **more: Any) -> Any:
    """The trainer's arguments, of trl's ``kind``."""
    from transformers.trainer_utils import set_seed

    from stages.engines.models import best_device, multiplies_bfloat16

    set_seed(settings.seed)
    launch = settings.execution.launch
    made = kind(
        output_dir=str(scratch),
        learning_rate=settings.learning_rate,
        max_steps=steps,
        per_device_train_batch_size=settings.micro_batch,
        gradient_accumulation_steps=settings.batch // (settings.micro_batch * settings.execution.processes),
        lr_scheduler_type=settings.schedule,
        warmup_steps=math.ceil(settings.warmup * steps),
        weight_decay=0.0,
        max_grad_norm=settings.max_grad_norm,
        max_length=None,
        gradient_checkpointing=settings.execution.checkpointing,
        use_cpu=best_device() == "cpu",
        ddp_backend="gloo" if best_device() == "cpu" and launch else None,
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
        **(launch.arguments() if launch else {}),
        **more,
    )
    _check_processes(made.world_size, settings)
    arrange(made)
    if made.device.type == "cuda":
        made._n_gpu = 1  # one process trains on one device; transformers would wrap the model in DataParallel
    return made


def _check_processes(started: int, settings: "Training") -> None:
    if started != settings.execution.processes:
        raise ValueError(
            f"this is one of {started} processes that somebody else started, so the batch would grow with them: start "
            "one, and say launch=ddp or launch=fsdp2"
        )


def fit(trainer: Any, settings: "Training", policy: Model, out: Model) -> dict[str, float]:
    """Train, from the last whole checkpoint if an earlier attempt left one, and save; where it began and ended.

    Where there are many processes the first one saves, and the others return nothing.
    """
    from transformers import PrinterCallback

    from stages.engines.adapters import has_adapter, keep_float32, read_weights

    if settings.four_bits:  # trl has made the adapter bfloat16, and has rounded one that goes on
        keep_float32(trainer.model)
        if has_adapter(policy):
            read_weights(trainer.model, policy.path)
    trainer.remove_callback(PrinterCallback)
    layout = settings.execution.layout
    trainer.add_callback(seal(layout))
    with trainer.args.main_process_first(local=False):
        checkpoint = last_whole(out.scratch, layout)
    autocast(trainer)
    trainer.train(resume_from_checkpoint=checkpoint)
    weights = gathered(trainer, settings)
    if not trainer.is_world_process_zero():
        return {}
    save(trainer.model, weights, settings, policy, out)
    return keep(trainer.state.log_history, out)
