"""Twenty steps of DPO on real pairs of mixed lengths: seconds a pair, the curve of the loss, and memory.

Against trl's DPOTrainer with its own settings (padding to the longest, activations computed twice) and a reference
model, on the same token ids in the same order. Ours has the reference's log-probs already, as a round has from scoring.
Precision is float32 where the processor does not multiply bfloat16. Each runs in a process of its own.
"""

import json
import multiprocessing
import resource
import tempfile
import time
from itertools import islice
from pathlib import Path
from typing import Any

from benchmarks.material import preferences, small_model
from benchmarks.measure import report, workers_environment
from stages.artifacts import Model, Pairs
from stages.engines.models import release
from stages.pairs.logprobs import LogProbs
from stages.train.dpo import DPO
from stages.train.objectives import Sigmoid

STEPS, BATCH, LONGEST = 20, 2, 512
SETTINGS = DPO(
    loss=Sigmoid(beta=0.1), learning_rate=5e-6, max_steps=STEPS, batch=BATCH, max_tokens=LONGEST, dtype="float32"
)


def main() -> None:
    """Run both, compare their curves, and write the ratios."""
    pairs, scored = Pairs(Path(tempfile.mkdtemp())), Pairs(Path(tempfile.mkdtemp()))
    pairs.write(islice(preferences().rows(), STEPS * BATCH))
    LogProbs(max_tokens=LONGEST)(pairs=pairs, model=small_model(), out=scored)
    release()
    context = multiprocessing.get_context("spawn")
    found: dict[str, dict[str, Any]] = {}
    for name, run in (("ours", ours), ("stock", stock)):
        result = Path(tempfile.mkdtemp()) / "result.json"
        process = context.Process(target=run, args=(scored.path, result))
        with workers_environment(name == "ours"):
            process.start()
        process.join()
        found[name] = json.loads(result.read_text())
        print(f"  {name}: {sum(found[name]['seconds']):.0f} s, {found[name]['memory']:.1f} GB")
    apart = max(abs(a - b) for a, b in zip(found["ours"]["losses"], found["stock"]["losses"], strict=True))
    print(f"  losses differ by at most {apart:.1e}: {found['ours']['losses'][-1]:.4f} at the end")
    assert apart < 0.01, "both must learn the same"
    rates = {name: [BATCH / seconds for seconds in one["seconds"]] for name, one in found.items()}
    report("train", target="ratio ≥ 2.5", unit="pairs/s", ours=rates["ours"], theirs=rates["stock"])
    memory = {name: [one["memory"]] for name, one in found.items()}
    report("train_memory", target="ratio ≤ 1", unit="GB", ours=memory["ours"], theirs=memory["stock"])


def ours(pairs: Path, result: Path) -> None:
    """The project's stage."""
    told = timed()
    out = Model(Path(tempfile.mkdtemp()))
    SETTINGS(pairs=Pairs(pairs), policy=small_model(), reference=small_model(), out=out)
    losses = [json.loads(line)["loss"] for line in (out.path / "curve.jsonl").read_text().splitlines()]
    keep(result, told, losses)


def stock(pairs: Path, result: Path) -> None:
    """trl's trainer as it comes; only the order of the rows and the optimizer's numbers are ours."""
    import torch
    from datasets import Dataset
    from transformers import AutoModelForCausalLM
    from trl import DPOConfig, DPOTrainer

    from stages.engines.models import best_device, load_tokenizer, multiplies_bfloat16
    from stages.train.fitting import in_order
    from stages.train.pair_rows import trainable

    class Trainer(DPOTrainer):  # type: ignore[misc]
        def _prepare_dataset(self, dataset: Any, *arguments: Any) -> Any:
            return dataset

    told = timed()
    rows = in_order(trainable(Pairs(pairs), small_model(), LONGEST)[0], SETTINGS)
    names = {"prompt_ids": "prompt_tokens", "chosen_ids": "chosen_tokens", "rejected_ids": "rejected_tokens"}
    path = small_model().path
    trainer = Trainer(
        model=AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32, local_files_only=True),
        ref_model=AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32, local_files_only=True),
        args=DPOConfig(
            output_dir=tempfile.mkdtemp(),
            beta=0.1,
            learning_rate=SETTINGS.learning_rate,
            max_steps=STEPS,
            per_device_train_batch_size=BATCH,
            max_length=LONGEST,
            lr_scheduler_type="constant",
            bf16=multiplies_bfloat16(best_device()),
            logging_steps=1,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            train_sampling_strategy="sequential",
            dataloader_pin_memory=best_device() == "cuda",
        ),
        train_dataset=Dataset.from_list([{ours: row[name] for ours, name in names.items()} for row in rows]),
        processing_class=load_tokenizer(small_model()),
    )
    trainer.train()
    keep(result, told, [entry["loss"] for entry in trainer.state.log_history if "loss" in entry])


def timed() -> list[float]:
    """Seconds of each optimizer step of any trainer that is made after this."""
    from transformers import TrainerCallback, trainer

    seconds: list[float] = []

    class Clock(TrainerCallback):  # type: ignore[misc]
        def on_step_begin(self, *_: Any, **__: Any) -> None:
            self.begun = time.perf_counter()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            seconds.append(time.perf_counter() - self.begun)

    trainer.DEFAULT_CALLBACKS.append(Clock)
    return seconds


def keep(result: Path, seconds: list[float], losses: list[float]) -> None:
    """Write what a process found, with the most memory that it held."""
    import torch

    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    if torch.cuda.is_available():
        held = torch.cuda.max_memory_allocated() / 2**30
    result.write_text(json.dumps({"seconds": seconds, "losses": losses, "memory": held}))


if __name__ == "__main__":
    main()
