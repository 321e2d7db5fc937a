"""What one would write without this project: two rounds of DICE in one straight line, with stock libraries.

The same model, prompts, numbers of samples, tokens at most, pairs, steps and evaluations as ``dice`` at the laptop's
scale, in one process that keeps nothing and resumes nothing. ``python -m benchmarks.baseline``.
"""

import json
import random
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import DPOConfig, DPOTrainer

SEED = Path(__file__).parent.parent / "recipes/seed"
ROUNDS, PROMPTS, SAMPLES, TOKENS, BATCH, SETUP_STEPS, STEPS = 2, 48, 4, 96, 8, 12, 8
LEARNING_RATE, BETA, TEMPERATURE, TOP_P = 5e-6, 0.1, 0.7, 0.9
BF16 = torch.cuda.is_available() or bool(torch.cpu.get_capabilities().get("amx_bf16"))
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"

begun = time.perf_counter()


def main(start: Path) -> None:
    """Everything, in order."""
    tokenizer = AutoTokenizer.from_pretrained(start, padding_side="left")
    prompts, offline = read("prompts")[:PROMPTS], read("preferences")
    held_out, fixed = read("probe_pairs"), read("probe_prompts")

    reference = load(start)
    before = evaluate(reference, tokenizer, held_out)
    policy = train(reference, load(start), tokenizer, offline, SETUP_STEPS)
    look(policy, tokenizer, held_out, before, fixed)
    for number in range(1, ROUNDS + 1):
        asked = [row["prompt"] for row in prompts for _ in range(SAMPLES)]
        answers = sample(policy, tokenizer, asked, do_sample=True, temperature=TEMPERATURE, top_p=TOP_P, top_k=0)
        told(f"sampled {len(answers)}")
        conversations = [(prompt, text) for prompt, (text, _) in zip(asked, answers, strict=True)]
        rewards = [
            (own - other) if ended else None
            for own, other, (_, ended) in zip(
                logprobs(policy, tokenizer, conversations),
                logprobs(reference, tokenizer, conversations),
                answers,
                strict=True,
            )
        ]
        told("scored")
        mined = []
        for first in range(0, len(asked), SAMPLES):
            known = [
                (r, answers[first + k][0]) for k, r in enumerate(rewards[first : first + SAMPLES]) if r is not None
            ]
            if len(known) > 1 and max(known)[0] > min(known)[0]:
                chosen, rejected = ([{"role": "assistant", "content": f(known)[1]}] for f in (max, min))
                mined.append({"prompt": asked[first], "chosen": chosen, "rejected": rejected})
        random.Random(number).shuffle(offline)
        pairs = mined + offline[: len(mined)]
        reference, policy = policy, train(policy, copy_of(policy), tokenizer, pairs, STEPS)
        look(policy, tokenizer, held_out, before, fixed)
    policy.save_pretrained(tempfile.mkdtemp())
    told("done")


def read(name: str) -> list[dict[str, Any]]:
    """Rows of shipped data."""
    rows = [json.loads(line) for line in (SEED / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]
    return [{key: row[key] for key in ("prompt", "chosen", "rejected") if key in row} for row in rows]


def load(path: Path) -> Any:
    """The model as transformers loads it."""
    return AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).to(DEVICE).eval()


def copy_of(model: Any) -> Any:
    """Another copy in memory, to be trained."""
    path = Path(tempfile.mkdtemp())
    model.save_pretrained(path)
    return load(path)


def sample(model: Any, tokenizer: Any, asked: list[Any], rows: int = 64, **how: Any) -> list[tuple[str, bool]]:
    """(answer, whether the model ended it) to each conversation, in padded batches."""
    found: list[tuple[str, bool]] = []
    for first in range(0, len(asked), rows):
        batch = tokenizer.apply_chat_template(
            asked[first : first + rows], add_generation_prompt=True, padding=True, return_tensors="pt", return_dict=True
        ).to(DEVICE)
        with torch.inference_mode():
            made = model.generate(**batch, max_new_tokens=TOKENS, **how)[:, batch["input_ids"].shape[1] :]
        for row in made.tolist():
            found.append((tokenizer.decode(row, skip_special_tokens=True), tokenizer.eos_token_id in row))
    return found


def logprobs(model: Any, tokenizer: Any, conversations: list[tuple[Any, str]], rows: int = 16) -> list[float]:
    """Summed log-probs of answers: padded batches, full logits."""
    sums: list[float] = []
    for first in range(0, len(conversations), rows):
        batch = conversations[first : first + rows]
        asked = [
            tokenizer.apply_chat_template(p, add_generation_prompt=True, return_dict=True)["input_ids"]
            for p, _ in batch
        ]
        whole = [
            ids + tokenizer(text).input_ids + [tokenizer.eos_token_id]
            for ids, (_, text) in zip(asked, batch, strict=True)
        ]
        longest = max(map(len, whole))
        ids = torch.tensor([row + [0] * (longest - len(row)) for row in whole], device=DEVICE)
        mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in whole], device=DEVICE)
        answer = mask.clone()
        for row, prompt in enumerate(asked):
            answer[row, : len(prompt)] = 0
        with torch.inference_mode():
            logits = model(input_ids=ids, attention_mask=mask).logits.float().log_softmax(-1)
        tokens = logits[:, :-1].gather(-1, ids[:, 1:, None])[..., 0]
        sums += (tokens * answer[:, 1:]).sum(-1).tolist()
    return sums


def train(reference: Any, policy: Any, tokenizer: Any, pairs: list[dict[str, Any]], steps: int) -> Any:
    """trl's DPOTrainer with a reference model, with trl's settings."""
    right = AutoTokenizer.from_pretrained(tokenizer.name_or_path)
    trainer = DPOTrainer(
        model=policy,
        ref_model=reference,
        args=DPOConfig(
            output_dir=tempfile.mkdtemp(),
            beta=BETA,
            learning_rate=LEARNING_RATE,
            max_steps=steps,
            per_device_train_batch_size=BATCH,
            lr_scheduler_type="constant",
            bf16=BF16,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            dataloader_pin_memory=DEVICE == "cuda",
        ),
        train_dataset=Dataset.from_list(pairs),
        processing_class=right,
    )
    trainer.train()
    told(f"trained {steps} steps")
    return trainer.model.eval()


def evaluate(model: Any, tokenizer: Any, held_out: list[dict[str, Any]]) -> list[float]:
    """Log-probs of the held-out pairs' answers, chosen and rejected in turns."""
    return logprobs(
        model,
        tokenizer,
        [(row["prompt"], row[side][0]["content"]) for row in held_out for side in ("chosen", "rejected")],
    )


def look(model: Any, tokenizer: Any, held_out: list[Any], before: list[float], fixed: list[Any]) -> None:
    """Held-out accuracy and the length of answers to fixed prompts."""
    moved = [now - then for now, then in zip(evaluate(model, tokenizer, held_out), before, strict=True)]
    right = sum(chosen > rejected for chosen, rejected in zip(moved[::2], moved[1::2], strict=True))
    answers = sample(model, tokenizer, [row["prompt"] for row in fixed], do_sample=False)
    length = sum(len(text) for text, _ in answers) / len(answers)
    told(f"held-out accuracy {right / len(held_out):.3f}, {length:.0f} characters an answer")


def told(what: str) -> None:
    """A line with the seconds so far."""
    print(f"{time.perf_counter() - begun:7.1f} s  {what}", flush=True)


if __name__ == "__main__":
    from benchmarks.material import small_model

    main(small_model().path)
