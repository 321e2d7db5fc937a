"""A training in many processes of this machine, one a device.

The one decision: the worker prepares, launches and commits; the processes only train. What they are told goes through
multiprocessing's own pipe, and they end with the worker, however it ends. Sharding is PyTorch's or DeepSpeed's, which
transformers' trainer drives through accelerate.
"""

import multiprocessing
import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, TypeVar

from stages.engines import ranks

Result = TypeVar("Result")
FSDP2 = (
    "version",
    "auto_wrap_policy",
    "transformer_layer_cls_to_wrap",
    "min_num_params",
    "reshard_after_forward",
    "activation_checkpointing",
    "state_dict_type",
    "cpu_offload",
)
"""What may be said of FSDP. transformers takes any name, and ignores those that it does not know."""


@dataclass(frozen=True, kw_only=True)
class Launch:
    """Over how many processes a training is spread. The batch stays what it is: each process takes its share.

    Args:
        processes: one a GPU; on a CPU as many as are wanted.
        fsdp: share weights, gradients and optimizer out by FSDP2; transformers' ``fsdp_config``. The first process
            reads the weights, and the others have their shares from it.
        deepspeed: the same by DeepSpeed; its own configuration. Without either, each process holds the whole model.
    """

    processes: int
    fsdp: dict[str, Any] | None = None
    deepspeed: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.processes < 1:
            raise ValueError(f"processes must be at least 1, not {self.processes}")
        if self.fsdp and self.deepspeed:
            raise ValueError("say either fsdp or deepspeed")
        for name, value in (self.fsdp or {}).items():
            if name not in FSDP2 or (name, value) == ("version", 1):
                raise ValueError(f"fsdp: {name}={value} is nothing for FSDP2, which is told of {', '.join(FSDP2)}")
        if self.deepspeed and find_spec("deepspeed") is None:
            raise ValueError("DeepSpeed is not installed: say pip install 'selfloop[deepspeed]', or launch=fsdp2")

    def arguments(self) -> dict[str, Any]:
        """What the trainer is told of it."""
        if self.fsdp:
            return {"fsdp": True, "fsdp_config": {**self.fsdp, "cpu_ram_efficient_loading": True}}
        return {"deepspeed": self.deepspeed} if self.deepspeed else {}


def launched(launch: Launch | None, train: Callable[..., Result], *told: Any) -> Result:
    """What ``train`` returns: of this process, or of the first of many.

    Raises:
        ValueError: what one of the processes raised, or there are fewer GPUs than processes.
    """
    if launch is None:
        return train(*told)
    import torch
    from accelerate.utils.other import get_free_port
    from torch.multiprocessing.spawn import ProcessRaisedException, start_processes

    if torch.cuda.is_available() and launch.processes > torch.cuda.device_count():
        raise ValueError(f"{launch.processes} processes want a GPU each, and there are {torch.cuda.device_count()}")
    said = multiprocessing.get_context("spawn").SimpleQueue()
    try:
        told = (launch.processes, get_free_port(), said, train, told)
        start_processes(_train, told, nprocs=launch.processes)  # type: ignore[no-untyped-call]
    except ProcessRaisedException as failure:  # another may have ended well before
        while not said.empty():
            if isinstance(refused := said.get(), ValueError):
                raise refused from failure
        raise
    result: Result = said.get()
    return result


def _train(rank: int, processes: int, port: int, said: Any, train: Callable[..., Any], told: tuple[Any, ...]) -> None:
    """One of the processes."""
    import torch

    ranks.end_with_parent()
    ranks.quiet(rank)
    os.environ.update(ranks.named(rank, processes, port))
    torch.set_num_threads(max(1, torch.get_num_threads() // processes))
    try:
        result = train(*told)
        if rank == 0:
            said.put(result)
    except ValueError as refused:
        said.put(refused)
        raise
    finally:
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
