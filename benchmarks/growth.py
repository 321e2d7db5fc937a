"""How cost grows with rounds and rows: ``python -m benchmarks.growth``.

The one decision: each measurement is a process of its own, so that its time is what a person waits for and its peak of
memory is its own. ``theirs`` is a plainer way to something like it in the same run: pandas holding the same table.

Words choose measurements: ``plan finished overhead mining``; none is all of them.
"""

import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.measure import REPEATS, report

ROOT = Path(__file__).parents[1]
ROUNDS = 300
SIZES = (250_000, 1_000_000)
ANSWERS = 4


def main() -> None:
    """Measure what was chosen."""
    with tempfile.TemporaryDirectory() as folder:
        for name in [word for word in sys.argv[1:] if word in MEASURED] or MEASURED:
            MEASURED[name](Path(folder))


def plan(folder: Path) -> None:
    """300 rounds of dice planned by a new process; theirs: two rounds."""
    words = ["plan", "recipes=dice", "device_memory=80", f"store={folder / 'none'}", f"runs={folder / 'runs'}"]
    many, few = ([_loops(*words, f"rounds={rounds}") for _ in range(REPEATS)] for rounds in (ROUNDS, 2))
    report("growth_plan", target="ours ≤ 3", unit="s", ours=many, theirs=few)


def finished(folder: Path) -> None:
    """A finished loop of 300 rounds, with MLflow; theirs: the same without anybody being told."""
    words = ["run", "recipes=dice", f"rounds={ROUNDS}", "executor=inline", f"store={folder / 'store'}"]
    words += [f"runs={folder / 'runs'}", "+tracker.patience=600"]
    _child("fill", str(folder / "store"), str(ROUNDS))
    telling = _loops(*words, said="0 steps run")
    again = [_loops(*words, said="0 steps run") for _ in range(REPEATS)]
    silent = [_loops(*words[:-1], "tracker=silent", said="0 steps run") for _ in range(REPEATS)]
    report("growth_finished", target="ours ≤ 10", unit="s", ours=again, theirs=silent)
    report("growth_told", target="none", unit="s, 2,109 steps told to MLflow anew", ours=[telling], theirs=silent)


def overhead(folder: Path) -> None:
    """What the runner adds to a step, with MLflow; theirs: a step of dice on a laptop (23 steps in 498 s)."""
    told = _child("steps", str(folder / "told"), "100", "told")
    report("growth_step", target="ratio ≤ 0.03", unit="s a step", ours=[told["a_step"]], theirs=[498 / 23])


def mining(folder: Path) -> None:
    """Extremes with the balancing penalty, then Replay, and what is said of scores; theirs: pandas, then ours of a
    quarter of the rows."""
    peaks: dict[str, list[float]] = {}
    for rows in SIZES:
        table = folder / f"scores-{rows}"
        _child("table", str(table), str(rows // ANSWERS))
        for name, theirs in (("mine", "grouped"), ("mix", "read_pairs"), ("said", "read_scores")):
            ours, other = _child(name, str(table)), _child(theirs, str(table))
            peaks.setdefault(name, []).append(ours["peak"])
            if rows == SIZES[-1]:
                seconds, peak = ("ours ≤ 60", "ours ≤ 2") if name == "mine" else ("none", "none")
                report(f"growth_{name}", target=seconds, unit="s", ours=[ours["seconds"]], theirs=[other["seconds"]])
                report(f"growth_{name}_memory", target=peak, unit="GB", ours=[ours["peak"]], theirs=[other["peak"]])
    for name, (few, many) in peaks.items():
        unit = "GB of 1,000,000 rows, against 250,000"
        report(f"growth_{name}_flat", target="ratio ≈ 1", unit=unit, ours=[many], theirs=[few])


MEASURED: dict[str, Callable[[Path], None]] = {
    "plan": plan,
    "finished": finished,
    "overhead": overhead,
    "mining": mining,
}


def _fill(store: str, rounds: str) -> dict[str, float]:
    """Every step of dice as if it had been made, with as many metrics and files as dice's steps have."""
    from loops.compose import compose
    from loops.fingerprint import canonical
    from loops.manifest import Manifest
    from loops.plan import unroll
    from loops.provenance import code_hash, provenance
    from loops.recipe import load
    from loops.store import Store

    for step in unroll(load(compose(["recipes=dice", f"rounds={rounds}"]))).steps:
        manifest = Manifest(
            key=step.key,
            stage=canonical(step.stage),  # type: ignore[arg-type]
            inputs={name: source.key for name, source in step.inputs.items()},
            metrics={f"metric_{i}": i / 7 + step.round for i in range(12)},
            seconds=1.5,
            provenance={**provenance(), "code": code_hash(type(step.stage))},
            files={f"file-{i:05d}": {"size": 1000, "sha256": "0" * 64} for i in range(5)},
        )
        path = Store(Path(store)).path(step.key)
        path.mkdir(parents=True)
        for name in manifest.files:
            (path / name).write_bytes(bytes(1000))
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


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        _as_child(*sys.argv[2:])
    else:
        main()
