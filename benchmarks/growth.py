"""How cost grows with rounds and rows: ``python -m benchmarks.growth``.

The one decision: each measurement is a process of its own, so that its time is what a person waits for and its peak of
memory is its own. ``theirs`` is a plainer way to something like it in the same run: pandas holding the same table.

Words choose measurements: ``plan finished overhead mining``; none is all of them.
"""

import json
import os
import platform
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
ROUNDS = 300
SIZES = (250_000, 1_000_000)
ANSWERS = 4


def main() -> None:
    """Measure, print a table, keep it."""
    chosen = sys.argv[1:] or ["plan", "finished", "overhead", "mining"]
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for name in chosen:
            for result in MEASURED[name](Path(folder)):
                results.append(result)
                shown = f"{result['ours']:10.3f} {result['theirs']:10.3f} {result['ratio']:8.3f}  {result['unit']:<4}"
                print(f"{result['name']:<44} {shown}  target {result['target']}", flush=True)
    keep = ROOT / "benchmarks" / "results" / f"growth_{date.today().isoformat()}_{'-'.join(chosen)}.json"
    keep.parent.mkdir(exist_ok=True)
    keep.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"kept in {keep.relative_to(ROOT)}")


def plan(folder: Path) -> Iterator[dict[str, Any]]:
    """300 rounds of dice, as a process and inside one; theirs: two rounds."""
    words = ["plan", "recipes=dice", f"store={folder / 'none'}", f"runs={folder / 'runs'}"]
    many, few = (_median(lambda r=r: _loops(*words, f"rounds={r}"), 5) for r in (ROUNDS, 2))
    yield _result("plan 300 rounds, process; theirs: 2 rounds", many, few, "under 3 s", "s", repeats=5)
    inner = _median(lambda: _child("plan_inner", str(ROUNDS))["seconds"], 5)
    few = _median(lambda: _child("plan_inner", "2")["seconds"], 5)
    yield _result("plan 300 rounds, inner; theirs: 2 rounds", inner, few, "under 3 s", "s", repeats=5)


def finished(folder: Path) -> Iterator[dict[str, Any]]:
    """A finished loop of 300 rounds, with MLflow; theirs: the same without anybody being told."""
    words = ["run", "recipes=dice", f"rounds={ROUNDS}", "executor=inline", f"store={folder / 'store'}"]
    words += [f"runs={folder / 'runs'}", "+tracker.patience=600"]
    _child("fill", str(folder / "store"), str(ROUNDS))
    telling = _loops(*words, said="0 steps run")
    again = _median(lambda: _loops(*words, said="0 steps run"), 5)
    silent = _median(lambda: _loops(*words[:-1], "tracker=silent", said="0 steps run"), 5)
    yield _result("a finished loop of 300 rounds; theirs: tracker=silent", again, silent, "under 10 s", "s", repeats=5)
    yield _result(
        "the same, 2,109 steps told to MLflow anew; theirs: tracker=silent", telling, silent, "none", "s", repeats=1
    )


def overhead(folder: Path) -> Iterator[dict[str, Any]]:
    """What the runner adds to a step, as a share of dice's steps on a laptop (23 steps in 498 s)."""
    told, silent = (_child("steps", str(folder / name), "100", name) for name in ("told", "silent"))
    for name, made in (("with MLflow", told), ("without", silent)):
        share = made["a_step"] / (498 / 23)
        result = _result(f"a step's overhead {name}; theirs: dice's step", made["a_step"], 498 / 23, "under 0.03", "s")
        yield {**result, "ratio": round(share, 5)}


def mining(folder: Path) -> Iterator[dict[str, Any]]:
    """Extremes with the balancing penalty, then Replay, and what is said of scores, over two sizes."""
    peaks: dict[int, dict[str, float]] = {}
    for rows in SIZES:
        table = folder / f"scores-{rows}"
        _child("table", str(table), str(rows // ANSWERS))
        peaks[rows] = {}
        for name, theirs in (("mine", "grouped"), ("mix", "read_pairs"), ("said", "read_scores")):
            ours, other = _child(name, str(table)), _child(theirs, str(table))
            peaks[rows][name] = ours["peak"]
            target = "under 60 s" if name == "mine" and rows == SIZES[-1] else "linear"
            yield _result(f"{name} {rows:,} rows; theirs: {theirs}", ours["seconds"], other["seconds"], target, "s")
            target = "under 2 GB" if name == "mine" and rows == SIZES[-1] else "flat"
            yield _result(f"{name} {rows:,} rows, peak; theirs: {theirs}", ours["peak"], other["peak"], target, "GB")
    for name in ("mine", "mix", "said"):
        few, many = (peaks[rows][name] for rows in SIZES)
        yield _result(f"{name} peak of 1,000,000 rows; theirs: 250,000 rows", many, few, "flat: 1", "GB")


MEASURED: dict[str, Callable[[Path], Iterator[dict[str, Any]]]] = {
    "plan": plan,
    "finished": finished,
    "overhead": overhead,
    "mining": mining,
}


def _plan_inner(rounds: str) -> dict[str, float]:
    from loops.compose import compose
    from loops.plan import unroll
    from loops.recipe import load

    begun = time.perf_counter()
    unroll(load(compose(["recipes=dice", f"rounds={rounds}"])))
    return {"seconds": time.perf_counter() - begun}


def _fill(store: str, rounds: str) -> dict[str, float]:
    """Every step of dice as if it had been made, with as many metrics and files as dice's steps have."""
    from loops.compose import compose
    from loops.fingerprint import canonical
    from loops.plan import unroll
    from loops.provenance import code_hash, provenance
    from loops.recipe import load
    from loops.store import Manifest, Store

    for step in unroll(load(compose(["recipes=dice", f"rounds={rounds}"]))).steps:
        manifest = Manifest(
            key=step.key,
            stage=canonical(step.stage),  # type: ignore[arg-type]
            inputs={name: source.key for name, source in step.inputs.items()},
            metrics={f"metric_{i}": i / 7 + step.round for i in range(12)},
            seconds=1.5,
            provenance={**provenance(), "code": code_hash(type(step.stage))},
            files={f"part-{i:05d}.parquet": {"size": 1000, "sha256": "0" * 64} for i in range(5)},
        )
        path = Store(Path(store)).path(step.key)
        path.mkdir(parents=True)
        (path / "manifest.json").write_text(json.dumps(vars(manifest)), encoding="utf-8")
    return {}


def _steps(folder: str, rounds: str, told: str) -> dict[str, float]:
    """Steps that add two numbers. MLflow is waited for after the last one, and that is not counted."""
    from loops.executors import Inline
    from loops.plan import unroll
    from loops.recipe import load
    from loops.runner import Runner
    from loops.store import Store
    from loops.tracker import MLflow, Silent
    from tests.loops.recipes import toy

    path = Path(folder)
    plan = unroll(load(toy(rounds=int(rounds))))
    uri = f"sqlite:///{path}/mlflow.db"
    tracker = MLflow(uri=uri, experiment="growth", artifacts=str(path / "mlflow")) if told == "told" else Silent()
    path.mkdir()
    begun, ended = time.perf_counter(), []

    class Stopwatch(Silent):
        def end(self, status: str) -> None:
            ended.append(time.perf_counter())

    Runner(Store(path / "store"), Inline(), [Stopwatch(), tracker], path / "run").run(plan)
    return {"a_step": (ended[0] - begun) / len(plan.steps), "told": (time.perf_counter() - begun) / len(plan.steps)}


def _table(path: str, prompts: str) -> dict[str, float]:
    """Scores whose better answers tend to be longer, so that the penalty is searched for."""
    from stages.artifacts import Scores

    Path(path).mkdir()
    Scores(Path(path)).write(_rows(int(prompts)))
    return {}


def _rows(prompts: int) -> Iterator[dict[str, Any]]:
    draw = random.Random(0)
    words = ["".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=draw.randint(2, 9))) for _ in range(5000)]
    said = [" ".join(draw.choices(words, k=draw.randint(10, 40))) for _ in range(20_000)]
    ids = [[draw.randrange(49152) for _ in range(len(text) // 4 + 5)] for text in said]
    for prompt in range(prompts):
        asked, tokens = draw.choice(said), draw.choice(ids)[:30]
        for sample in range(ANSWERS):
            which = draw.randrange(len(said))
            score = draw.gauss(len(said[which]) / 1000, 0.3) if draw.random() < 0.98 else None
            yield {
                "prompt_id": f"p{prompt}",
                "prompt": [{"role": "user", "content": f"{prompt} {asked}"}],
                "sample": sample,
                "completion": [{"role": "assistant", "content": said[which]}],
                "finish_reason": "stop" if draw.random() < 0.9 else "length",
                "prompt_tokens": tokens,
                "completion_tokens": ids[which],
                "sampled_from": "0123456789abcdef",
                "score": score,
                "score_unit": "log-ratio",
                "null_reason": None if score is not None else "truncated",
                "label_source": "self",
                "policy_logp": -50.0 + (score or 0.0),
                "reference_logp": -50.0,
                "scored_policy": "0123456789abcdef",
                "score_noise": 0.001,
            }


def _mine(path: str) -> dict[str, float]:
    from stages.artifacts import Pairs, Scores
    from stages.pairs.extremes import Extremes

    return dict(
        Extremes(n=ANSWERS, length_penalty="balance")(scores=Scores(Path(path)), out=_new(Pairs, path, "mined"))
    )


def _mix(path: str) -> dict[str, float]:
    from stages.artifacts import Pairs
    from stages.pairs.replay import Replay

    mined = Pairs(Path(f"{path}-mined"))
    return dict(Replay(offline=0.5, seed=1)(mined=mined, pool=mined, out=_new(Pairs, path, "mixed")))


def _said(path: str) -> dict[str, float]:
    from stages.artifacts import Scores
    from stages.score.summary import summary

    return dict(summary(Scores(Path(path)), "log-ratio"))


def _grouped(path: str) -> dict[str, float]:
    """The best and the worst of each prompt with pandas, which holds the table; no penalty, no rules, nothing kept."""
    import pandas as pd

    table = pd.read_parquet(_parts(path)).dropna(subset=["score"])
    groups = table.groupby("prompt_id", sort=False)["score"]
    best, worst = table.loc[groups.idxmax()], table.loc[groups.idxmin()]
    return {"pairs": float(len(best.merge(worst, on="prompt_id")))}


def _read_pairs(path: str) -> dict[str, float]:
    """The mined pairs, each prompt once, with pandas."""
    import pandas as pd

    return {"pairs": float(len(pd.concat(map(pd.read_parquet, _parts(f"{path}-mined"))).drop_duplicates("prompt_id")))}


def _read_scores(path: str) -> dict[str, float]:
    import pandas as pd

    return dict(pd.read_parquet(_parts(path), columns=["prompt_id", "score", "null_reason"])["score"].describe())


def _parts(path: str) -> list[Path]:
    return sorted(Path(path).glob("part-*.parquet"))


def _new(kind: Any, path: str, name: str) -> Any:
    Path(f"{path}-{name}").mkdir()
    return kind(Path(f"{path}-{name}"))


def _child(name: str, *arguments: str) -> dict[str, float]:
    """What a function of this file returns in a process of its own, with its seconds and its peak of memory in GB."""
    command = [sys.executable, "-m", "benchmarks.growth", "--child", name, *arguments]
    done = subprocess.run(command, cwd=ROOT, env=_environment(), check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def _as_child(name: str, *arguments: str) -> None:
    begun = time.perf_counter()
    found = globals()[f"_{name}"](*arguments)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(json.dumps({"seconds": time.perf_counter() - begun, "peak": peak, **found}))


def _loops(*words: str, said: str = "") -> float:
    """Seconds of the command line."""
    begun = time.perf_counter()
    command = [sys.executable, "-m", "loops", *words]
    done = subprocess.run(command, cwd=ROOT, env=_environment(), check=True, capture_output=True, text=True)
    assert said in done.stdout, done.stdout + done.stderr
    assert "is not told" not in done.stderr, done.stderr
    return time.perf_counter() - begun


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "SELFLOOP_TRUST": "tests", "OMP_NUM_THREADS": "1"}


def _median(measure: Callable[[], float], repeats: int) -> float:
    return statistics.median(measure() for _ in range(repeats))


def _result(name: str, ours: float, theirs: float, target: str, unit: str, repeats: int = 1) -> dict[str, Any]:
    return {
        "name": f"growth: {name}",
        "ratio": round(ours / theirs, 3),
        "target": target,
        "unit": unit,
        "ours": round(ours, 4),
        "theirs": round(theirs, 4),
        "repeats": repeats,
        "machine": _machine(),
        "date": date.today().isoformat(),
    }


def _machine() -> str:
    names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return f"{names[0].partition(': ')[2] if names else platform.machine()}, {os.cpu_count()} cores"


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        _as_child(*sys.argv[2:])
    else:
        main()
