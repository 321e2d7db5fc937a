"""trl's SFTTrainer, fed token ids: the loss, its mean over tokens and everything else are trl's."""

from typing import TYPE_CHECKING

from stages.artifacts import Model, Row
from stages.progress import progress
from stages.train.curve import keep, watcher
from stages.train.fitting import arguments, fit, loaded_for_training, save

if TYPE_CHECKING:
    from stages.train.sft import SFT


def train(settings: "SFT", rows: list[Row], policy: Model, out: Model) -> dict[str, float]:
    """Train, from the last checkpoint if an earlier attempt left one, and save; first and last loss.

    Args:
        rows: prompt_tokens and answer_tokens, in whole batches.
    """
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    from stages.engines.models import load_tokenizer

    class Trainer(SFTTrainer):  # type: ignore[misc]
        def create_model_card(self, *arguments: object, **options: object) -> None:
            """A checkpoint is for resuming only."""

    steps = len(rows) // settings.batch
    model = loaded_for_training(policy)
    with progress("training", steps, "steps") as bar:
        trainer = Trainer(
            model=model,
            args=arguments(SFTConfig, settings, steps, out.scratch, dataset_kwargs={"skip_prepare_dataset": True}),
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
        fit(trainer, out)
    save(model, settings, policy, out)
    return keep(trainer.state.log_history, out)
