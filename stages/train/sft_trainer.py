"""trl's SFTTrainer, fed token ids: the loss, its mean over tokens and everything else are trl's."""

from typing import TYPE_CHECKING, Any

from stages.artifacts import Model, Row
from stages.progress import count_tokens, progress
from stages.train.checkpoints import Resumable
from stages.train.curve import watcher
from stages.train.fitting import arguments, fit, loaded_for_training
from stages.train.launch import launched

if TYPE_CHECKING:
    from stages.train.sft import SFT


def train(settings: "SFT", rows: list[Row], policy: Model, out: Model) -> dict[str, float]:
    """Train, from the last checkpoint if an earlier attempt left one, and save; first and last loss.

    Args:
        rows: prompt_tokens and answer_tokens, in whole batches.
    """
    return launched(settings.execution.launch, _train, settings, rows, policy, out)


def _train(settings: "SFT", rows: list[Row], policy: Model, out: Model) -> dict[str, float]:
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    from stages.engines.models import load_tokenizer

    class Trainer(Resumable, SFTTrainer):  # type: ignore[misc]
        pass

        def training_step(self, model: Any, inputs: dict[str, Any], *more: Any) -> Any:
            count_tokens(inputs["input_ids"].numel())
            return super().training_step(model, inputs, *more)

    steps = len(rows) // settings.batch
    args = arguments(SFTConfig, settings, steps, out.scratch, dataset_kwargs={"skip_prepare_dataset": True})
    with progress("training", steps, "steps") as bar:
        trainer = Trainer(
            model=loaded_for_training(policy, settings),
            args=args,
            train_dataset=Dataset.from_list(
                [
                    {
                        "input_ids": row["prompt_tokens"] + row["answer_tokens"],
                        "labels": [-100] * len(row["prompt_tokens"]) + row["answer_tokens"],
                    }
                    for row in rows
                ]
            ),
            processing_class=load_tokenizer(policy),
            callbacks=[watcher(bar, from_reference=False)],
        )
        return fit(trainer, settings, policy, out)
