"""Generation with vLLM, in processes of its own beside the worker.

The one decision: vLLM is asked for every answer singly, with the answer's own seed, and batches them itself. So an
answer depends on its prompt and seed and not on what is drawn beside it, up to rounding: another batch changes logits
in the last digits, and a draw that falls on a border may fall on its other side. vLLM draws by other numbers than `hf`:
the same seed gives another answer from the same distribution, and another on a GPU than on a CPU.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from stages.artifacts import Model
from stages.engines.engine import Answer, Request, Sampling
from stages.engines.memory import decoding
from stages.foreseen import Size
from stages.progress import count_tokens, progress


@dataclass(frozen=True, kw_only=True)
class VLLM:
    """vLLM on this machine's GPU, or on all cores of its CPU; it lives until training begins or its
    weights cannot be swapped for another model's.

    Args:
        rows: answers that are decoded together, at most.
        context: tokens of the longest prompt and its answer together; without it as many as the model can read. Keys
            and values of one such answer must fit into the cache.
        memory: the share of a GPU that it takes, weights and cache together; the rest is left to transformers, which
            scores beside it. On a CPU the cache takes what VLLM_CPU_KVCACHE_SPACE says (in GiB), or an eighth.
        eager: whether to do without compiling, which takes about a minute at every start and saves time afterwards.
            Where nothing is said: on a CPU, where it saves little.
        tensor_parallel, pipeline_parallel: over how many devices each layer is spread, and the layers are.
    """

    rows: int = 128
    context: int | None = None
    memory: float = 0.6
    eager: bool | None = None
    tensor_parallel: int = 1
    pipeline_parallel: int = 1

    def __post_init__(self) -> None:
        if self.rows < 1:
            raise ValueError(f"rows must be at least 1, not {self.rows}")
        if not 0 < self.memory <= 1:
            raise ValueError(f"memory is a share of the device's, in (0, 1], not {self.memory}")
        if self.tensor_parallel < 1 or self.pipeline_parallel < 1:
            raise ValueError("tensor_parallel and pipeline_parallel must be at least 1")
        if find_spec("vllm") is None:
            raise ValueError("vLLM is not installed in this environment: say `make setup-vllm`, or take engine=hf")

    @property
    def devices(self) -> int:
        """How many it takes."""
        return self.tensor_parallel * self.pipeline_parallel

    def memory_of(self, model: Size, length: float) -> tuple[float, float, int]:
        """Bytes of a device to decode answers of so many tokens, prompts included: about, and for certain; on how many
        devices. vLLM itself takes its share of a GPU, whatever it needs."""
        own = model.bytes / self.devices
        return own + decoding(model, self.rows, length) / self.devices, own, self.devices

    def generate(self, model: Model, requests: Sequence[Request], sampling: Sampling) -> Iterator[Answer]:
        """See Engine.generate. An answer is cut off, too, where prompt and answer fill the context."""
        from stages.engines.models import end_of_turn
        from stages.engines.vllm_process import adapter_of, living

        places = [(index, place) for index, request in enumerate(requests) for place in range(len(request.seeds))]
        ends = end_of_turn(model)
        with living(model, self) as llm, progress("decoding", len(places), "answers") as bar:
            known = llm.enqueue(
                [{"prompt_token_ids": requests[index].prompt} for index, _ in places],
                [_parameters(requests[index].seeds[place], ends, sampling) for index, place in places],
                lora_request=adapter_of(model),
                use_tqdm=False,
            )
            asked = {name.split("-")[0]: place for name, place in zip(known, places, strict=True)}
            while llm.llm_engine.has_unfinished_requests():
                for output in llm.llm_engine.step():
                    tokens = list(output.outputs[0].token_ids)
                    count_tokens(len(tokens))
                    bar.update(1)
                    yield Answer(*asked[output.request_id], tokens)


def _parameters(seed: int, ends: list[int], sampling: Sampling) -> Any:
    """What vLLM is told of one answer: nothing ends it but the model's end-of-turn ids, which it keeps."""
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    return SamplingParams(
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        max_tokens=sampling.max_new_tokens,
        seed=seed % 2**63,
        stop_token_ids=ends,
        ignore_eos=True,
        detokenize=False,
        output_kind=RequestOutputKind.FINAL_ONLY,
    )
