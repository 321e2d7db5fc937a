"""How the tests run a shipped recipe on the tiny model: the real command line, small numbers, nothing else changed."""

import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

from loops.__main__ import main

ROOT = Path(__file__).parents[2]
SMALL = [
    "sizes.prompts=40",
    "++sizes.offline_pairs=12",
    "++sizes.chunk=16",
    "sizes.samples=4",
    "sizes.new_tokens=24",
    "sizes.seed_steps=3",
    "sizes.train_steps=3",
    "sizes.batch=4",
    "sizes.learning_rate=1e-3",
    "training.checkpoint_every=1",
    "sampling.temperature=1.0",
    "sampling.top_p=1.0",
    "+materials.probe_pairs.stage.limit=8",
    "+materials.probe_prompts.stage.limit=4",
]
CROSSINGS = sorted((ROOT / "tests/recipes/crossings").glob("*.yaml"))
RECIPES = [*sorted(path.stem for path in (ROOT / "recipes").glob("*.yaml")), *(path.stem for path in CROSSINGS)]
JUDGES = ("self_rewarding", "meta_rewarding", "self_rewarding_agreeing")
COMPARED = [
    "versus=pairwise",
    "versus.missing_allowed=0.9",
    *(f"+round.judge_{against}.stage.min_mass=0" for against in ("start", "previous")),
    *(f"+round.judge_{against}.stage.disagreement=average" for against in ("start", "previous")),
]
RUBRIC = "Grade it. <question>{question}</question> <response>{response}</response> Score:"
WORDS = [
    "the",
    "river",
    "runs",
    "over",
    "grey",
    "stones",
    "old",
    "birds",
    "sing",
    "about",
    "warm",
    "bread",
    "cold",
    "rain",
]


def command(recipe: str, model: Path, *more: str) -> list[str]:
    chosen = [f"recipes={recipe}", "model=local", f"model_path={model}", "tracker=silent", *SMALL, *more]
    return [sys.executable, "-m", "loops", *chosen]


def run(place: Path, model: Path, *more: str) -> subprocess.CompletedProcess[str]:
    """DICE, in processes of its own, as a person runs it."""
    asked = command("dice", model, *more)
    return subprocess.run(asked, cwd=place, env=environment(), capture_output=True, text=True, timeout=600)


def run_here(recipe: str, model: Path, *more: str) -> int:
    """The command line in this process, and its steps too, which spares the imports of two processes; its exit code."""
    return main(command(recipe, model, "executor=inline", *more)[3:])


def words(recipe: str, place: Path) -> list[str]:
    """What else a recipe must be told to work with a model that knows nothing; crossings are put where it looks."""
    (place / "recipes").mkdir(exist_ok=True)
    for path in CROSSINGS:
        shutil.copy(path, place / "recipes")
    unsure = ["+round.judge.stage.min_mass=0"] if recipe in ("scir", "self_rewarding_agreeing") else []
    easy = [*gibberish_tasks(place), *COMPARED] if recipe == "verified" else []
    return [*(schooling(place) if recipe in JUDGES else []), *unsure, *easy]


def gibberish_tasks(folder: Path) -> list[str]:
    """Tasks of which a model that says anything at all solves about every second one."""
    rows = [
        {
            "id": i,
            "kind": "anything",
            "prompt": f"Task {i}: say something.",
            "checker": "lacks",
            "expected": "aeiost"[i % 6],
        }
        for i in range(40)
    ]
    (folder / "tasks.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return [f"materials.{name}.stage.path={folder / 'tasks.jsonl'}" for name in ("tasks", "probe_tasks")]


def schooling(folder: Path) -> list[str]:
    """Words that let the tiny model learn to judge and to invent: short examples, a short rubric, and time to learn."""
    generator = random.Random(0)

    def sentence(least: int, most: int) -> str:
        return " ".join(generator.choices(WORDS, k=generator.randint(least, most))).capitalize()

    instructions = [{"id": i, "prompt": f"Task {i}: {sentence(3, 5)}", "completion": sentence(5, 9)} for i in range(48)]
    judgements = [
        {"id": i, "question": sentence(3, 6), "answer": sentence(4, 9), "judgement": sentence(2, 3), "score": i % 6}
        for i in range(48)
    ]
    for name, rows in (("instructions", instructions), ("judgements", judgements)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return [
        f"rubric='{RUBRIC}'",
        f"materials.instructions.stage.path={folder / 'instructions.jsonl'}",
        f"materials.judgements.stage.path={folder / 'judgements.jsonl'}",
        "sizes.prompts=12",
        "sizes.sft_steps=200",
        "training.checkpoint_every=20",  # of so many steps each would cost more than the step
        "sizes.sft_learning_rate=1e-2",
        "sizes.learning_rate=1e-4",
        "round.invent.inputs.policy=teach",
        "round.invent.stage.temperature=1.0",
        "round.invent.stage.top_p=1.0",
        "round.score.stage.temperature=1.0",
    ]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}


def artifacts(store: Path) -> dict[str, bytes]:
    """Every file of every artifact, but for the manifests, which say when and how long."""
    files = (file for file in (store / "artifacts").rglob("*") if file.is_file() and file.name != "manifest.json")
    return {str(file.relative_to(store)): file.read_bytes() for file in files}
