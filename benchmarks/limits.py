"""What this machine could do at best: matrix products at the model's own shapes, and bytes moved.

And what scoring makes of it: the share of the matrix rate that all of it, and its transformer body alone, reach.
"""

import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from statistics import median

import torch

from benchmarks.material import small_model
from benchmarks.measure import REPEATS, report, synchronise, workers_environment
from benchmarks.score import sequences
from stages.engines.attention import last_states
from stages.engines.logprobs import score_sequences
from stages.engines.models import load_model
from stages.engines.packed import packed


def main() -> None:
    """Measure as a worker would, print, and write the shares."""
    with workers_environment(), ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        products, moved, body, whole = pool.submit(measured).result()
    print(f"  matrix products {median(products):.0f} GFLOP/s, memory {median(moved):.1f} GB/s")
    unit = "GFLOP/s of matrix products, against the machine's own rate"
    report("limit_score", target="none", unit=unit, ours=whole, theirs=products)
    report("limit_body", target="none", unit=unit, ours=body, theirs=products)


def measured() -> tuple[list[float], ...]:
    """Rates of products and of bytes, and the products of a body's pass and of scoring, in 1e9 a second."""
    model = load_model(small_model())
    config, device = model.config, model.device
    wide = torch.randn(4096, config.hidden_size, device=device)
    weight = torch.randn(config.hidden_size, config.intermediate_size, device=device)
    products = rate(lambda: wide @ weight, 2 * wide.numel() * config.intermediate_size, repeats=50)
    big, other = torch.randn(2, 64, 2**20, device=device)
    moved = rate(lambda: big.copy_(other), 2 * big.numel() * big.element_size(), repeats=10)
    line = packed(sequences()).to(device)
    head = config.vocab_size * config.hidden_size
    per_token = 2 * (sum(p.numel() for p in model.parameters()) - head)
    body = rate(lambda: last_states(model, line), per_token * line.ids.numel())
    work = per_token * line.ids.numel() + 2 * head * line.targets.numel()
    whole = rate(lambda: list(score_sequences(model, sequences(), 4096)), work)
    return products, moved, body, whole


@torch.inference_mode()
def rate(run: Callable[[], object], work: int, repeats: int = REPEATS) -> list[float]:
    """Work a nanosecond."""
    run()
    found = []
    for _ in range(repeats):
        begun = time.perf_counter()
        run()
        synchronise()
        found.append(work / (time.perf_counter() - begun) / 1e9)
    return found


if __name__ == "__main__":
    main()
