"""Planning is instant: importing every stage brings in nothing heavy. And the house style, as far as it can be seen."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = sorted(path for package in ("loops", "stages", "reports") for path in (ROOT / package).rglob("*.py"))
HEAVY = [
    "torch",
    "transformers",
    "trl",
    "vllm",
    "ray",
    "submitit",
    "datasets",
    "mlflow",
    "matplotlib",
    "pyarrow",
    "sklearn",
]


def test_importing_every_stage_brings_in_nothing_heavy():
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in MODULES if path.parts[-2] != "loops"]
    names = [name.removesuffix(".__init__") for name in names]
    script = f"import importlib, sys\nfor name in {names!r}: importlib.import_module(name)\n"
    script += f"heavy = set({HEAVY!r}) & set(sys.modules)\nassert not heavy, heavy"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_says_what_it_is_and_stays_small(path):
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    assert ast.get_docstring(tree), "a module opens with what it is"
    assert len(text.splitlines()) <= (200 if "loops" in path.parts else 155)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno - node.lineno <= 40, f"{node.name} has grown"


def test_only_the_dashboard_talks_to_mlflow():
    talks = {path.parent.name for path in MODULES if re.search(r"(import|from) mlflow", path.read_text())}
    assert talks == {"dashboard"}
