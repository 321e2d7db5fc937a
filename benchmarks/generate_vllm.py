"""Generation with `engine=vllm` against vLLM's own `LLM.generate` on the same requests.

`python -m benchmarks.generate_vllm` writes `results/generate_vllm.json`.

The one decision: vLLM alone is used as anybody would use it: its defaults, n answers a request, no seeds. Only the
precision, the length of the context and, on a CPU, the cores and doing without compiling are as in our engine. Both
live at once, in processes of their own, and generate in turns, so that a slow minute of the machine meets both.
"""

import atexit
import json
import os
from collections.abc import Callable

from benchmarks.material import ROOT, small_model
from benchmarks.measure import in_turns, report
from stages.artifacts import Model
from stages.engines.chat import prompt_tokens
from stages.engines.engine import Request, Sampling
from stages.engines.models import best_device, load_tokenizer
from stages.engines.vllm import VLLM
from stages.engines.vllm_settings import settings

PROMPTS, ANSWERS, CONTEXT = 16, 4, 1024
SAMPLING = Sampling(temperature=0.7, top_p=0.9, max_new_tokens=48)


def main() -> None:
    """Measure both, print the medians and their ratio, and write ``results/generate_vllm.json``."""
    rates = in_turns({"ours": our_engine, "vllm": vllm_alone})
    report("generate_vllm", target="ratio ≥ 0.98", unit="tokens/s", ours=rates["ours"], theirs=rates["vllm"])


def our_engine() -> Callable[[], int]:
    """Generates through the engine, as a stage asks it; gives the number of tokens."""
    engine, model = VLLM(context=CONTEXT), small_model()
    asked = [
        Request(prompt=prompt, seeds=[100 * place + sample for sample in range(ANSWERS)])
        for place, prompt in enumerate(prompts(model))
    ]
    return lambda: sum(len(answer.ids) for answer in engine.generate(model, asked, SAMPLING))


def vllm_alone() -> Callable[[], int]:
    """Generates with vLLM's ``LLM``; gives the number of tokens."""
    model = small_model()
    os.environ.update({**settings(), **os.environ})
    from vllm import LLM, SamplingParams

    llm = LLM(str(model.path), dtype="float32", max_model_len=CONTEXT, enforce_eager=best_device() == "cpu")
    atexit.register(llm.llm_engine.engine_core.shutdown)
    asked = [{"prompt_token_ids": prompt} for prompt in prompts(model)]
    how = SamplingParams(
        n=ANSWERS, temperature=SAMPLING.temperature, top_p=SAMPLING.top_p, max_tokens=SAMPLING.max_new_tokens
    )

    def generate() -> int:
        outputs = llm.generate(asked, how, use_tqdm=False)
        return sum(len(answer.token_ids) for output in outputs for answer in output.outputs)

    return generate


def prompts(model: Model) -> list[list[int]]:
    """The shipped prompts' ids."""
    lines = (ROOT / "recipes/seed/prompts.jsonl").read_text(encoding="utf-8").splitlines()[:PROMPTS]
    return [prompt_tokens(load_tokenizer(model), json.loads(line)["prompt"]) for line in lines]


if __name__ == "__main__":
    main()
