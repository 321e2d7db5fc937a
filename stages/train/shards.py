"""A model that many processes share out by FSDP2: read once, and computed as one process computes it.

The one decision: the first process reads the weights and says what it holds; the others begin with tensors that nobody
has written, which take no memory, until accelerate hands each its share.
"""

from typing import TYPE_CHECKING, Any

from stages.artifacts import Model

if TYPE_CHECKING:
    from stages.train.training import Training


def begins_empty(settings: "Training") -> bool:
    """Whether this process leaves reading to the first. Four bits cannot be handed out: there each process reads."""
    import torch

    return _hands_out(settings) and torch.distributed.get_rank() > 0


def empty(policy: Model, dtype: str) -> Any:
    """The policy's layers, without its weights."""
    from transformers import AutoConfig, AutoModelForCausalLM
    from transformers.initialization import no_init_weights

    config = AutoConfig.from_pretrained(policy.path, local_files_only=True, trust_remote_code=False)
    with no_init_weights():
        model = AutoModelForCausalLM.from_config(
            config, dtype=config.dtype if dtype == "auto" else dtype, trust_remote_code=False
        )
    model.tie_weights()
    return model


def agree(model: Any, settings: "Training") -> None:
    """Let every process hold weights of the first one's types, and attend as it does, which the empty cannot try.

    Raises:
        ValueError: the model would be called once or several times for a batch, as its rows are, so that processes
            would wait for one another's weights at different layers.
    """
    import torch
    from accelerate.utils import broadcast_object_list

    from stages.engines.attention import attend_as, passes_at_once

    if settings.execution.shares and not (begins_empty(settings) or passes_at_once(model, settings.max_tokens)):
        raise ValueError(
            f"a {model.config.model_type} is passed a batch's rows apart (its attention, or a window under "
            "max_tokens), which processes that share it cannot do in step: say launch=ddp"
        )
    if not _hands_out(settings):
        return
    said = [model.config._attn_implementation, {name: held.dtype for name, held in model.named_parameters()}]
    attention, types = broadcast_object_list(said)
    if begins_empty(settings):
        attend_as(model, attention)
        for name, held in model.named_parameters():
            held.data = torch.empty_like(held, dtype=types[name])


def arrange(arguments: Any) -> None:
    """Prepare the trainer's arguments, if they ask for FSDP, so that FSDP itself casts nothing.

    accelerate would have it round what is passed to the model, the reference's log-probs among it, and the sums of
    gradients.
    """
    from accelerate.utils import DistributedType
    from torch.distributed.fsdp import MixedPrecisionPolicy

    if arguments.fsdp_plugin_args is None:
        return
    arguments.fsdp_plugin_args["mixed_precision_policy"] = MixedPrecisionPolicy()
    if arguments.device.type == "cpu":
        # accelerate shares out over GPUs only: on a CPU it says nothing and keeps the whole model in every process.
        arguments.distributed_state.distributed_type = DistributedType.MULTI_GPU


def autocast(trainer: Any) -> None:
    """Multiply in bfloat16 as one process does: accelerate, which lets FSDP cast, gives its model no autocast."""
    from accelerate.utils.operations import convert_outputs_to_fp32

    accelerator, model = trainer.accelerator, trainer.model
    if accelerator.is_fsdp2 and accelerator.native_amp:
        model.forward = convert_outputs_to_fp32(accelerator.autocast()(model.forward))


def gathered(trainer: Any, settings: "Training") -> dict[str, Any]:
    """What was trained by name, on the first process: all weights, or at least the adapter's, without a shared base."""
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

    if settings.adapter and _hands_out(settings):
        only = StateDictOptions(full_state_dict=True, cpu_offload=True, ignore_frozen_params=True)
        return dict(get_model_state_dict(trainer.model_wrapped, options=only))
    return dict(trainer.accelerator.get_state_dict(trainer.model_wrapped))


def shared_while_it_trains(trainer: type) -> type:
    """What trl's DPOTrainer builds on, to stand below it: it knows of FSDP while it is made and while it trains, and
    not between, where trl would load a whole model in every process: the reference, whose log-probs came with the
    rows."""

    class Shared(trainer):  # type: ignore[misc]
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            self.is_fsdp_enabled = False

        def train(self, **options: Any) -> Any:
            self.is_fsdp_enabled = self.args.fsdp_plugin_args is not None
            return super().train(**options)

    return Shared


def _hands_out(settings: "Training") -> bool:
    launch = settings.execution.launch
    return bool(launch and launch.fsdp) and not settings.four_bits
