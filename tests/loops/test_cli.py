"""The command line as a person meets it: one line for what is refused, and exit codes."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from loops.__main__ import main
from tests.loops.beside import being_made, wait_for

ROOT = Path(__file__).parents[2]


def selfloop(*arguments, cwd):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-m", "loops", *arguments], cwd=cwd, env=environment, capture_output=True, text=True
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["plan", "recipes=dixe"], "RecipeError: recipes: there is no 'dixe'; did you mean 'dice'?"),
        (["plan"], "RecipeError: which recipe? say recipes=NAME; there is dice"),
        (["plann", "recipes=dice"], "RecipeError: there is no command 'plann'; did you mean 'plan'?"),
        (["plan", "recipes=dice", "model=smolm"], "RecipeError: model: there is no 'smolm'"),
        (["plan", "recipes=dice", "roundz=3"], "RecipeError: configuration: Could not override 'roundz'"),
        (["plan", "recipes=dice", "rounds=0.5"], "RecipeError: rounds: expected a whole number of rounds, got 0.5"),
        (
            ["plan", "recipes=dice", "round.train.stage.loss.beta=0"],
            "RecipeError: round-01/train.loss: beta must be above 0",
        ),
        (
            ["plan", "recipes=dice", "sizes.samples=1"],
            "RecipeError: round-01/mine: n is the number of answers a prompt; best against worst",
        ),
        (["plan", "recipes=dice", "round.mix.stage.offline=1"], "RecipeError: round-01/mix: offline is the share"),
        (
            ["plan", "recipes=dice", "round.mine.inputs.scores=generate"],
            "RecipeError: round-01/mine: scores takes Scores",
        ),
        (
            ["plan", "recipes=dice", "+round.train.stage.warmups=3"],
            "RecipeError: round-01/train: DPO has no field 'warmups'; did you mean 'warmup'?",
        ),
        (
            ["plan", "recipes=dice", "model=local"],
            "RecipeError: materials.sft: model_path has no default; say model_path=...",
        ),
    ],
)
def test_what_is_wrong_is_refused_in_one_line_with_exit_code_1(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith(message), told.err
    assert told.err.count("\n") == 1


def test_a_model_that_was_copied_in_part_is_refused_in_one_line_while_planning(tmp_path):
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text('{"num_hidden_layers": 2}')
    (model / "model.safetensors").write_bytes((1000).to_bytes(8, "little") + b'{"half": {"shape')
    done = selfloop("plan", "recipes=dice", "model=local", f"model_path={model}", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith(f"RecipeError: setup/sft: {model} cannot be read as a model"), done.stderr
    assert done.stderr.count("\n") == 1


def test_the_plan_of_dice_names_every_step_and_imports_no_torch(tmp_path):
    script = "import sys; from loops.__main__ import main; code = main(['plan', 'recipes=dice']); "
    script += "heavy = {'torch', 'transformers', 'trl', 'datasets', 'mlflow', 'vllm'} & set(sys.modules); "
    script += "assert not heavy, heavy; sys.exit(code)"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "round-02/train" in done.stdout
    assert not list(tmp_path.iterdir())


def test_a_reader_that_goes_away_gets_no_traceback(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = f"{sys.executable} -m loops plan recipes=dice rounds=300 device_memory=80 | head -1"
    done = subprocess.run(command, shell=True, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.stdout.count("\n") == 1
    assert done.stderr == ""


def test_help_lists_the_recipes(tmp_path):
    done = selfloop("--help", cwd=tmp_path)
    assert done.returncode == 0
    assert "dice" in done.stdout
    assert "arXiv 2406.09760" in done.stdout


def test_a_recipe_of_ones_own_is_found_where_one_stands(tmp_path):
    (tmp_path / "recipes").mkdir()
    recipe = (
        "# @package _global_\n# Mine.\ndefaults: [dice]\nname: mine\nround: {train: {stage: {loss: {beta: 0.05}}}}\n"
    )
    (tmp_path / "recipes/mine.yaml").write_text(recipe)
    ours, theirs = selfloop("plan", "recipes=mine", cwd=tmp_path), selfloop("plan", "recipes=dice", cwd=tmp_path)
    assert ours.returncode == 0, ours.stderr
    different = [
        a.split()[0] for a, b in zip(ours.stdout.splitlines(), theirs.stdout.splitlines(), strict=True) if a != b
    ]
    assert different[0] == "round-01/train"
    assert "round-01/generate" not in different


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_says_so_and_goes_on(how, tmp_path):
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes/slow.yaml").write_text(
        "# @package _global_\n# Slow.\nname: slow\nrounds: 0\ncarry: {}\nround: {}\n"
        "setup:\n  one: {stage: {_target_: tests.loops.toys.Slow, seconds: 600}}\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "SELFLOOP_TRUST": "tests"}
    command = [sys.executable, "-m", "loops", "recipes=slow", "tracker=silent"]
    running = subprocess.Popen(
        command,
        cwd=tmp_path,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background job ignores it
    )
    wait_for(lambda: being_made(tmp_path), running)
    running.send_signal(how)
    _, told = running.communicate(timeout=60)
    assert running.returncode == 130
    assert "run the same command again to go on" in told
    assert "Traceback" not in told
    assert "leaked" not in told


def test_a_recipe_that_carries_nothing_ends_without_words_about_it(tmp_path):
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes/one.yaml").write_text(
        "# @package _global_\n# One.\nname: one\nrounds: 0\ncarry: {}\nround: {}\n"
        "setup:\n  one: {stage: {_target_: tests.loops.toys.Constant, value: 1}}\n"
    )
    done = selfloop("recipes=one", "tracker=silent", "executor=inline", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "one: 1 step run" in done.stdout
    assert "the model" not in done.stdout
    assert "dashboard" not in done.stdout


def test_another_recipe_that_is_broken_breaks_nothing_but_itself(tmp_path):
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes/broken.yaml").write_text("name: [unclosed\n")
    assert selfloop("plan", "recipes=dice", cwd=tmp_path).returncode == 0
    broken = selfloop("plan", "recipes=broken", cwd=tmp_path)
    assert broken.returncode == 1
    assert broken.stderr.startswith(f"RecipeError: {tmp_path / 'recipes/broken.yaml'} is not YAML for a recipe: ")
