"""Our pool of Ray workers, and Ray Data's LLM processor: how each is asked for a wave of answers.

The one decision: both start the same vLLM with the same arguments in workers of one core, and give it the same
prompts, seeds and sampling. Whatever else Ray Data needs has cores of its own.
"""

import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.generate_vllm import prompts
from benchmarks.material import ROOT, small_model
from benchmarks.measure import workers_environment
from benchmarks.ray_steps import Wave, count_steps, outlived, steps, worker_killed
from stages.artifacts import Model
from stages.engines.engine import Answer, Request, Sampling
from stages.engines.models import end_of_turn
from stages.engines.ray_pool import RayPool, dismiss
from stages.engines.vllm import VLLM
from stages.engines.vllm_settings import settings

ROWS, CONTEXT = 4, 1024
SAMPLING = Sampling(temperature=1.0, top_p=1.0, max_new_tokens=96)
MACHINE = {"VLLM_CPU_OMP_THREADS_BIND": "nobind", "VLLM_CPU_KVCACHE_SPACE": "1"}
"""A worker's process has as many threads as Ray gives it cores, wherever they are free."""

Draw = Callable[[list[Request], int | None], Wave]
"""Draws answers; a worker is killed once so many tokens are drawn, if it is said."""
Side = Callable[[int], Any]
"""With so many workers: a context, in which waves are drawn."""


@contextmanager
def cluster(workers: int) -> Iterator[None]:
    """A Ray of this machine, with as many cores again as the workers have."""
    import ray

    with workers_environment():
        os.environ.update({**settings(), **os.environ, **MACHINE})
        ray.init(
            "local",
            num_cpus=2 * workers,
            object_store_memory=2**28,
            runtime_env={"env_vars": {"PYTHONPATH": str(ROOT)}},
            include_dashboard=False,
            log_to_driver=False,
            logging_level="error",
        )
        try:
            yield
        finally:
            ray.shutdown()


def asked(answers: int) -> list[Request]:
    """So many answers to each prompt, each with a seed of its own."""
    return [
        Request(prompt=prompt, seeds=[100 * place + sample for sample in range(answers)])
        for place, prompt in enumerate(prompts(small_model()))
    ]


@contextmanager
def ours(workers: int) -> Iterator[Draw]:
    """Our pool, whose workers have drawn an answer each."""
    with TemporaryDirectory() as folder:
        engine = RayPool(inner=Counted(rows=ROWS, context=CONTEXT, steps=folder), workers=workers)

        def draw(requests: list[Request], kill: int | None = None) -> Wave:
            answers = engine.generate(small_model(), requests, SAMPLING)
            return _wave(((requests[one.request].seeds[one.seed], one.ids) for one in answers), Path(folder), kill)

        try:
            draw(asked(1)[:workers])
            yield draw
        finally:
            dismiss()


@contextmanager
def theirs(workers: int, batch: int = 1) -> Iterator[Draw]:
    """Ray Data's processor, which gives each worker twice as many rows as it decodes together, in batches of so many.
    Each wave has actors of its own, and waits until all have started."""
    import ray

    logging.getLogger("ray.data").setLevel(logging.ERROR)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars, context.wait_for_min_actors_s = False, 600
    with TemporaryDirectory() as folder:

        def draw(requests: list[Request], kill: int | None = None) -> Wave:
            rows = [{"seed": seed, "ids": request.prompt} for request in requests for seed in request.seeds]
            found = _processor(workers, batch, folder)(ray.data.from_items(rows)).iter_rows()
            return _wave(((row["seed"], list(row["generated_tokens"])) for row in found), Path(folder), kill)

        yield draw


@dataclass(frozen=True, kw_only=True)
class Counted(VLLM):
    """vLLM whose steps are noted in a folder."""

    steps: str

    def generate(self, model: Model, requests: Any, sampling: Sampling) -> Iterator[Answer]:
        """See Engine.generate."""
        count_steps(self.steps)
        return super().generate(model, requests, sampling)


def _processor(workers: int, batch: int, folder: str) -> Any:
    """As RayPool's vLLM on a CPU is started (stages/engines/vllm_process.py) and asked (stages/engines/vllm.py)."""
    from ray.data.llm import build_processor, vLLMEngineProcessorConfig

    engine = {"max_model_len": CONTEXT, "max_num_seqs": ROWS, "dtype": "float32", "generation_config": "vllm"}
    config = vLLMEngineProcessorConfig(
        model_source=str(small_model().path),
        engine_kwargs={**engine, "enforce_eager": True, "enable_chunked_prefill": False},
        placement_group_config={"bundles": [{"CPU": 1}]},
        concurrency=(workers, workers),
        batch_size=batch,
        max_concurrent_batches=2 * ROWS // batch,
        log_engine_metrics=False,
        chat_template_stage=False,
        tokenize_stage=False,
        detokenize_stage=False,
    )
    how = {"temperature": SAMPLING.temperature, "top_p": SAMPLING.top_p, "max_tokens": SAMPLING.max_new_tokens}
    how |= {"stop_token_ids": end_of_turn(small_model()), "ignore_eos": True, "detokenize": False}
    made = build_processor(
        config,
        preprocess=lambda row: {"tokenized_prompt": row["ids"], "sampling_params": {**how, "seed": int(row["seed"])}},
        postprocess=lambda row: {"seed": row["seed"], "generated_tokens": row["generated_tokens"]},
    )
    stage = made.get_stage_by_name("vLLMEngineStage")
    # A copy, because an assignment would validate the stage anew, which then forgets its bundles and wants a GPU.
    made.stages["vLLMEngineStage"] = stage.model_copy(update={"fn": _counted(stage.fn, folder)})
    return made


def _counted(worker: Any, folder: str) -> Any:
    """Ray Data's worker likewise."""

    class CountedWorker(worker):  # type: ignore[misc]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            count_steps(folder)
            super().__init__(*args, **kwargs)

    return CountedWorker


def _wave(answers: Iterator[tuple[int, list[int]]], folder: Path, kill: int | None) -> Wave:
    asked_at, found = time.monotonic(), dict[int, tuple[float, list[int]]]()
    with worker_killed(folder, kill) if kill else nullcontext([]) as below:
        for seed, ids in answers:
            found[seed] = (time.monotonic(), ids)
    return Wave(asked=asked_at, answers=found, steps=steps(folder, asked_at), left=outlived(below))
