"""Four sampled answers to each of 12 prompts through the transformers engine.

Against a plain loop of padded ``generate`` calls, in the given order, with as many rows at once.
"""

from collections.abc import Callable

import torch

from benchmarks.material import small_model, written_answers
from benchmarks.measure import in_turns, report
from benchmarks.score import load_plain, padded
from stages.engines.engine import Request, Sampling
from stages.engines.hf import HF
from stages.engines.models import end_of_turn, load_tokenizer

PROMPTS, EACH, ROWS = 12, 4, 32
SAMPLING = Sampling(temperature=0.7, top_p=0.9, max_new_tokens=64)


def main() -> None:
    """Measure in answers' tokens a second, for the two draw different answers."""
    rates = in_turns({"ours": ours, "plain": plain})
    report("generate_hf", target="ratio ≥ 1.3", unit="answers' tokens/s", ours=rates["ours"], theirs=rates["plain"])


def prompts() -> list[list[int]]:
    """Real prompts' ids, each once."""
    return [list(prompt) for prompt in dict.fromkeys(tuple(prompt) for prompt, _ in written_answers())][:PROMPTS]


def ours() -> Callable[[], int]:
    """Through the engine, as a stage asks it."""
    requests = [
        Request(prompt=prompt, seeds=[EACH * place + sample for sample in range(EACH)])
        for place, prompt in enumerate(prompts())
    ]
    return lambda: sum(len(answer.ids) for answer in HF(rows=ROWS).generate(small_model(), requests, SAMPLING))


def plain() -> Callable[[], int]:
    """A loop of padded ``generate`` calls."""
    model, ends = load_plain(), end_of_turn(small_model())
    repeated = [prompt[::-1] for prompt in prompts() for _ in range(EACH)]

    def run() -> int:
        count = 0
        for first in range(0, len(repeated), ROWS):
            rows = [(prompt, []) for prompt in repeated[first : first + ROWS]]
            ids, attended, _ = (column.flip(1) for column in padded(rows, model.device))
            with torch.inference_mode():
                made = model.generate(  # type: ignore[operator]
                    input_ids=ids,
                    attention_mask=attended,
                    do_sample=True,
                    temperature=SAMPLING.temperature,
                    top_p=SAMPLING.top_p,
                    top_k=0,
                    max_new_tokens=SAMPLING.max_new_tokens,
                    eos_token_id=ends,
                    pad_token_id=load_tokenizer(small_model()).pad_token_id,
                )[:, ids.shape[1] :]
            stopped = torch.isin(made, torch.tensor(ends, device=made.device)).long()
            count += int((stopped.cumsum(1) - stopped == 0).sum())
        return count

    return run


if __name__ == "__main__":
    main()
