"""Log-probs of 16 answers a prompt, as the implicit reward needs them from each of its two models.

Against the usual way: padded batches in the given order, the prompt repeated for each answer, the logits of every token
in float32. And against the bare transformer body, without any logits, on the same sequences, ordered by length.
"""

from collections.abc import Callable
from functools import cache

import torch

from benchmarks.material import many_answers, small_model
from benchmarks.measure import in_turns, report
from stages.engines.logprobs import score_sequences
from stages.engines.models import load_model, release
from stages.engines.packed import Sequenced

BUDGET = 4096


def main() -> None:
    """Check that the numbers are the same, measure, and write both ratios."""
    few = sequences()[:8]
    ours_of = [value for _, value in sorted(score_sequences(load_model(small_model()), few, BUDGET))]
    apart = max(abs(a - b) for a, b in zip(ours_of, usual_logprobs(load_plain(), few), strict=True))
    print(f"  {len(sequences())} answers, {tokens()} tokens with their prompts; largest difference {apart:.1e} nats")
    assert apart < 0.01, "the two ways must give the same log-probs"
    release()
    rates = in_turns({"ours": ours, "usual": usual, "body": bare})
    unit = "prompt-repeated tokens/s"
    report("score", target="ratio ≥ 3", unit=unit, ours=rates["ours"], theirs=rates["usual"])
    report("score_to_body", target="ratio ≥ 0.8", unit=unit, ours=rates["ours"], theirs=rates["body"])


@cache
def sequences() -> list[Sequenced]:
    """16 answers to each of three prompts."""
    return many_answers(prompts=3, each=16, asked_tokens=72, mean=110, spread=45)


def tokens() -> int:
    """Of every sequence with its prompt."""
    return sum(len(prompt) + len(answer) for prompt, answer in sequences())


def ours() -> Callable[[], int]:
    """As ImplicitReward does it."""
    model = load_model(small_model())
    return lambda: sum(1 for _ in score_sequences(model, sequences(), BUDGET)) and tokens()


def usual() -> Callable[[], int]:
    """Padded, with full logits."""
    model = load_plain()
    return lambda: len(usual_logprobs(model, sequences())) and tokens()


def bare() -> Callable[[], int]:
    """The layers alone."""
    model = load_plain()

    def run() -> int:
        body(model, sequences())
        return tokens()

    return run


def load_plain() -> torch.nn.Module:
    """The same model as transformers loads it."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(small_model().path, dtype="auto", local_files_only=True)
    return model.to(load_model(small_model()).device).eval()


def usual_logprobs(model: torch.nn.Module, asked: list[Sequenced], rows: int = 16) -> list[float]:
    """Summed log-probs, the way that most scripts compute them."""
    sums: list[float] = []
    for first in range(0, len(asked), rows):
        ids, attended, answers = padded(asked[first : first + rows], model.device)
        with torch.inference_mode():
            logits = model(input_ids=ids, attention_mask=attended).logits.float()
            logprobs = logits[:, :-1].log_softmax(-1).gather(-1, ids[:, 1:, None])[..., 0]
        sums += (logprobs * answers[:, 1:]).sum(-1).tolist()
    return sums


def body(model: torch.nn.Module, asked: list[Sequenced]) -> None:
    """The transformer's layers alone, on sequences ordered by length, padded within a batch."""
    ordered = sorted(asked, key=lambda one: -len(one[0]) - len(one[1]))
    while ordered:
        rows = max(1, BUDGET // (len(ordered[0][0]) + len(ordered[0][1])))
        ids, attended, _ = padded(ordered[:rows], model.device)
        with torch.inference_mode():
            model.base_model(input_ids=ids, attention_mask=attended, use_cache=False)
        ordered = ordered[rows:]


def padded(asked: list[Sequenced], device: torch.device) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Ids, attention mask and answer mask, [rows, tokens] each."""
    longest = max(len(prompt) + len(answer) for prompt, answer in asked)
    made = [
        (
            [*prompt, *answer] + [0] * (longest - len(prompt) - len(answer)),
            [1] * (len(prompt) + len(answer)) + [0] * (longest - len(prompt) - len(answer)),
            [0] * len(prompt) + [1] * len(answer) + [0] * (longest - len(prompt) - len(answer)),
        )
        for prompt, answer in asked
    ]
    ids, attended, answers = (torch.tensor(column).to(device) for column in zip(*made, strict=True))
    return ids, attended, answers


if __name__ == "__main__":
    main()
