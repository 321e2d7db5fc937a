"""Golden plans: a changed key shows as a diff. To take a change over: ``pytest --golden`` writes them anew."""

import re
import shutil
from contextlib import chdir, redirect_stdout
from io import StringIO
from pathlib import Path

import pytest

from loops.__main__ import main
from tests.recipes.tiny import ROOT

GOLDEN = Path(__file__).parent / "golden"
RECIPES = sorted(path.stem for path in (ROOT / "recipes").glob("*.yaml"))
CROSSINGS = sorted((ROOT / "tests/recipes/crossings").glob("*.yaml"))
CHOICES = {
    "laptop": [],
    "paper": ["scale=paper", "model=zephyr_7b", "data=ultrafeedback", "device_memory=1000", f"sft_revision={'0' * 40}"],
}

GATES = [("dice", "champion"), ("self_rewarding", "judged")]


def plan(recipe, *more, cwd):
    with chdir(cwd), redirect_stdout(StringIO()) as told:
        assert main(["plan", f"recipes={recipe}", *more]) == 0
    steps = (re.match(r"\S+ +[0-9a-f]{16}  \S+ +\w+", line) for line in told.getvalue().splitlines())
    return "".join(f"{step.group()}\n" for step in steps if step)


@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize("recipe", RECIPES)
def test_the_plan_is_the_golden_one(recipe, choice, tmp_path, request):
    compare(recipe, choice, tmp_path, request)


@pytest.mark.parametrize("crossing", CROSSINGS, ids=lambda path: path.stem)
def test_a_crossing_of_two_papers_is_a_few_lines_and_its_plan_the_golden_one(crossing, tmp_path, request):
    (tmp_path / "recipes").mkdir()
    shutil.copy(crossing, tmp_path / "recipes")
    assert len(crossing.read_text().splitlines()) <= 15
    compare(crossing.stem, "laptop", tmp_path, request)


@pytest.mark.parametrize(("recipe", "gate"), GATES)
def test_the_plan_of_a_gated_recipe_is_the_golden_one(recipe, gate, tmp_path, request):
    compare(recipe, gate, tmp_path, request)


def compare(recipe, choice, tmp_path, request):
    path = GOLDEN / f"{recipe}-{choice}.txt"
    planned = plan(recipe, *CHOICES.get(choice, [f"gate={choice}"]), cwd=tmp_path)
    if request.config.getoption("--golden"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(planned)
    assert planned == path.read_text()


@pytest.mark.parametrize(
    "elsewhere",
    [
        "executor=inline",
        "tracker=silent",
        "engine.rows=8",
        "training.micro_batch=1",
        "training.checkpoint_every=3",
        "store=other",
        "run=name",
    ],
)
def test_where_and_how_fast_it_runs_never_changes_a_key(elsewhere, tmp_path):
    assert plan("dice", elsewhere, cwd=tmp_path) == plan("dice", cwd=tmp_path)


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_can_compare_each_round_with_the_start_and_the_one_before(recipe):
    from loops.compose import compose
    from loops.plan import unroll
    from loops.recipe import load

    steps = {
        step.id: step for step in unroll(load(compose([f"recipes={recipe}", "versus=pairwise", "rounds=2"]))).steps
    }
    for against, baseline in (("start", "setup/answer"), ("previous", "round-01/answer")):
        beside = steps[f"round-02/beside_{against}"]
        assert {name: step.id for name, step in beside.inputs.items()} == {
            "candidate": "round-02/answer",
            "baseline": baseline,
        }
        assert steps[f"round-02/versus_{against}"].inputs["scores"].inputs["completions"] is beside


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_can_ask_the_start_and_each_round_an_outside_benchmark(recipe):
    pytest.importorskip("lm_eval", reason="lm_eval is not installed")
    from loops.compose import compose
    from loops.plan import unroll
    from loops.recipe import load

    words = [
        f"recipes={recipe}",
        "benchmark=lm_eval",
        "benchmark.tasks=[arc_easy,gsm8k]",
        "benchmark.limit=8",
        "rounds=2",
    ]
    recipe = load(compose(words))
    steps = {step.id: step for step in unroll(recipe).steps}
    for place, policy in (("setup", recipe.carry["policy"].init), ("round-01", "train"), ("round-02", "train")):
        assert steps[f"{place}/lm_eval"].inputs["policy"].id == f"{place}/{policy}"
        assert steps[f"{place}/lm_eval"].stage.tasks == ["arc_easy", "gsm8k"]


def test_gsm8ks_files_take_the_place_of_the_shipped_tasks(tmp_path):
    from loops.compose import compose
    from loops.plan import unroll
    from loops.recipe import load

    paths = [tmp_path / name for name in ("train.jsonl", "test.jsonl")]
    for path in paths:
        path.write_text('{"question": "1 + 1?", "answer": "That is\\n#### 2"}\n')
    words = ["recipes=verified", "data=gsm8k", f"tasks_path={paths[0]}", f"probe_tasks_path={paths[1]}"]
    stages = {step.id: step.stage for step in unroll(load(compose(words))).steps}
    for name in ("setup/tasks", "setup/probe_tasks"):
        assert stages[name].columns == {"prompt": "question", "expected": "answer"}
        assert stages[name].checker == "number"


def test_a_recipe_overrides_the_defaults_and_a_scale_overrides_the_recipe(monkeypatch, tmp_path):
    from loops.compose import compose

    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes/mine.yaml").write_text("defaults: [dice]\nname: mine\nrounds: 5\ntraining: {micro_batch: 2}\n")
    monkeypatch.chdir(tmp_path)
    mine, paper = compose(["recipes=mine"]), compose(["recipes=mine", "scale=paper"])
    assert (mine.rounds, mine.training.micro_batch, mine.sizes.samples) == (5, 2, 4)
    assert (paper.training.micro_batch, paper.training.checkpointing, paper.sizes.samples) == (1, True, 16)


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("zephyr_7b", "<s><|system|>\n </s>\n<|user|>\nHi</s>\n<|assistant|>\n"),
        (
            "llama3_8b",
            "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\n",
        ),
    ],
)
def test_the_papers_models_have_the_papers_templates(model, expected):
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    from loops.compose import compose

    template = compose(["recipes=dice", f"model={model}"]).chat_template
    rendered = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True).from_string(template)
    words = {"bos_token": "<s>", "eos_token": "</s>", "add_generation_prompt": True}
    assert rendered.render(messages=[{"role": "user", "content": "Hi"}], **words) == expected


def test_a_recipe_fits_on_a_screen_and_begins_with_its_paper():
    for recipe in RECIPES:
        lines = (ROOT / f"recipes/{recipe}.yaml").read_text().splitlines()
        assert len(lines) <= 66
        assert "arXiv" in lines[1]


def test_over_how_many_processes_a_training_is_spread_changes_no_key(tmp_path):
    assert plan("dice", "launch=ddp", cwd=tmp_path) == (GOLDEN / "dice-laptop.txt").read_text()


SEVENTY = ["shape.parameters=70553706496", "shape.layers=80", "shape.width=8192", "shape.inner=28672"]


@pytest.mark.parametrize(
    ("devices", "most", "words"),
    [
        (1, 24, ["scale=8b_on_24gb"]),
        (1, 24, ["scale=8b_on_24gb", "adapter=lora"]),
        (8, 80, ["scale=70b_on_8x80gb", *SEVENTY]),
    ],
    ids=["8b-qlora", "8b-lora", "70b"],
)
def test_every_step_of_dice_fits_into_the_devices_that_a_scale_is_named_for(
    devices, most, words, tmp_path, monkeypatch, capsys
):
    """About, not only for certain; as if vLLM, peft and bitsandbytes were here: nothing of them is run."""
    from loops.__main__ import main

    for module in ("stages.engines.vllm", "stages.train.adapter"):
        monkeypatch.setattr(f"{module}.find_spec", lambda name: name)
    monkeypatch.chdir(tmp_path)
    llama = ["model=llama3_8b", f"dpo_revision={'0' * 40}"]
    assert main(["plan", "recipes=dice", *llama, *words, f"device_memory={most}"]) == 0
    memory = {}
    for line in capsys.readouterr().out.splitlines():
        if found := re.match(r"(\S+/\S+) +[0-9a-f]{16} .*? {2}(≥ )?(?:(\d+)×)?([\d.]+) GB", line):
            memory[found[1]] = found[2], int(found[3] or 1), float(found[4])
    for step in ("setup/held_out", "setup/probe", "generate", "score", "train", "answer", "probe"):
        certain, times, each = memory[step if "/" in step else f"round-01/{step}"]
        assert not certain, f"{step}: nothing but the weights is known"
        assert (times, each < most) == (devices, True), step


@pytest.mark.parametrize("choice", [["adapter=lora"], ["scale=70b_on_8x80gb", "engine=hf", "launch=none"]])
def test_an_adapter_is_another_training_and_an_option_like_any_other(tmp_path, choice):
    pytest.importorskip("peft", reason="an adapter needs peft")
    planned, known = (plan("dice", *more, cwd=tmp_path).split() for more in (choice, [*choice, "adapter=none"]))
    for step, moved in (("setup/sft", False), ("setup/dpo", True), ("round-01/train", True)):
        assert (planned[planned.index(step) + 1] != known[known.index(step) + 1]) == moved, step


@pytest.mark.parametrize("executor", ["ray", "slurm"])
def test_an_executor_asks_for_as_many_gpus_as_a_step_is_spread_over(executor, tmp_path, monkeypatch):
    from omegaconf import OmegaConf

    from loops.compose import compose

    def gpus(*words):
        composed = compose(["recipes=dice", f"executor={executor}", *words]).executor.resources
        table = OmegaConf.to_container(composed, resolve=True)
        asked = {name: needs["gpus"] for name, needs in table.items()}
        return asked["stages.generate"], asked["stages.score"], asked["stages.pairs.logprobs"], asked["stages.train"]

    monkeypatch.chdir(tmp_path)
    assert gpus() == (1, 1, 1, 1)
    assert gpus("launch=ddp", "launch.processes=4") == (1, 1, 1, 4)
    assert gpus("engine=vllm", "engine.tensor_parallel=2") == (2, 2, 1, 1)
    assert gpus("engine=tp_vllm", "engine.devices=2") == (2, 2, 2, 2)
    assert gpus("scale=70b_on_8x80gb") == (8, 8, 8, 8)
