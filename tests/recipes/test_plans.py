"""Golden plans: a changed key shows as a diff. To take a change over: ``pytest --golden`` writes them anew."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.recipes.tiny import ROOT, environment

GOLDEN = Path(__file__).parent / "golden"
RECIPES = sorted(path.stem for path in (ROOT / "recipes").glob("*.yaml"))
CHOICES = {
    "laptop": [],
    "paper": ["scale=paper", "model=zephyr_7b", "data=ultrafeedback", f"sft_revision={'0' * 40}"],
}


def plan(recipe, *more, cwd):
    done = subprocess.run(
        [sys.executable, "-m", "loops", "plan", f"recipes={recipe}", *more],
        cwd=cwd,
        env=environment(),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize("recipe", RECIPES)
def test_the_plan_is_the_golden_one(recipe, choice, tmp_path, request):
    path = GOLDEN / f"{recipe}-{choice}.txt"
    planned = plan(recipe, *CHOICES[choice], cwd=tmp_path)
    if request.config.getoption("--golden"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(planned)
    assert planned == path.read_text()


@pytest.mark.parametrize(
    "elsewhere",
    ["executor=inline", "tracker=silent", "engine.rows=8", "training.micro_batch=1", "store=other", "run=name"],
)
def test_where_and_how_fast_it_runs_never_changes_a_key(elsewhere, tmp_path):
    assert plan("dice", elsewhere, cwd=tmp_path) == plan("dice", cwd=tmp_path)


def test_a_recipe_fits_on_a_screen_and_begins_with_its_paper():
    for recipe in RECIPES:
        lines = (ROOT / f"recipes/{recipe}.yaml").read_text().splitlines()
        assert len(lines) <= 66
        assert "arXiv" in lines[1]
