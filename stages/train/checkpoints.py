"""Which checkpoint a training goes on from.

The one decision: a checkpoint counts only if it says of itself, after its last file was written, how large its files
are. One that a kill or a full disk cut short says nothing, and is removed; the trainer would take it for the newest.
"""

import json
import shutil
from pathlib import Path
from typing import Any

from stages.durable import put

WHOLE = "whole.json"


def last_whole(scratch: Path, layout: str) -> str | None:
    """The newest whole checkpoint in a trainer's folder, if there is one whose weights lie so; others are removed."""
    found = sorted(scratch.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]))
    whole = [path for path in found if _is_whole(path, layout)]
    for path in set(found) - set(whole[-1:]):
        shutil.rmtree(path)
    return str(whole[-1]) if whole else None


def seal(layout: str) -> Any:
    """A callback that says of each checkpoint that it is whole, when all processes have written their parts, and then
    removes those before it. (The trainer would remove them first, and by the clock.)"""
    from transformers import TrainerCallback

    class Seal(TrainerCallback):  # type: ignore[misc]
        def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            args.distributed_state.wait_for_everyone()
            if not state.is_world_process_zero:
                return
            folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
            draft = folder / f".{WHOLE}"
            draft.write_text(json.dumps({"layout": layout, "sizes": _sizes(folder)}), encoding="utf-8")
            put(draft, folder / WHOLE)
            for other in Path(args.output_dir).glob("checkpoint-*"):
                if other != folder:
                    shutil.rmtree(other)

    return Seal()


class Resumable:
    """A mixin for trl's trainers: a checkpoint is for resuming only, and may be an adapter's, and nobody is told."""

    def create_model_card(self, *arguments: Any, **options: Any) -> None:
        """Nobody reads it."""

    def _send_telemetry(self) -> None:
        """trl would tell the hub of every training."""

    def _load_from_checkpoint(self, checkpoint: str, model: Any = None) -> None:
        from stages.engines.adapters import WEIGHTS, read_weights

        trainer: Any = self
        if (Path(checkpoint) / WEIGHTS).is_file() and not trainer.is_fsdp_enabled:
            read_weights(trainer.model, Path(checkpoint))
        else:
            super()._load_from_checkpoint(checkpoint, model)  # type: ignore[misc]


def _is_whole(checkpoint: Path, layout: str) -> bool:
    said = {"layout": layout, "sizes": _sizes(checkpoint)}
    try:
        return bool(said == json.loads((checkpoint / WHOLE).read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return False


def _sizes(checkpoint: Path) -> dict[str, int]:
    files = (path for path in sorted(checkpoint.rglob("*")) if path.is_file() and path.name.lstrip(".") != WHOLE)
    return {path.relative_to(checkpoint).as_posix(): path.stat().st_size for path in files}
