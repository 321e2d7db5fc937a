"""How the tests run a shipped recipe on the tiny model: the real command line, small numbers, nothing else changed."""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SMALL = [
    "sizes.prompts=40",
    "++sizes.offline_pairs=12",
    "sizes.samples=4",
    "++sizes.chunk=16",
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


def command(recipe: str, model: Path, *more: str) -> list[str]:
    chosen = [f"recipes={recipe}", "model=local", f"model_path={model}", "tracker=silent", *SMALL, *more]
    return [sys.executable, "-m", "loops", *chosen]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}


def artifacts(store: Path) -> dict[str, bytes]:
    """Every file of every artifact, but for the manifests, which say when and how long."""
    files = (file for file in (store / "artifacts").rglob("*") if file.is_file() and file.name != "manifest.json")
    return {str(file.relative_to(store)): file.read_bytes() for file in files}
