"""A recipe file from a stranger: it runs no code, reads no environment, and reaches no file but those below us."""

import json
import os
import signal

import pytest

from loops.__main__ import main
from loops.dashboard.ui import command
from loops.shipped import home

CHUNK = "{_target_: stages.generate.chunk.Chunk, sizes: 1, number: 1}"
SECRET = "s3cr3t-of-the-environment"


@pytest.fixture
def plan(tmp_path, monkeypatch, capsys):
    """``plan(recipe text, word, ...)``: exit code and what was said, with a stranger's recipe in a fresh folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PLANTED_TOKEN", SECRET)
    monkeypatch.setenv("SELFLOOP_TRUST", "tests")
    (tmp_path / "recipes/prompts").mkdir(parents=True)

    def planned(text, *words):
        (tmp_path / "recipes/mine.yaml").write_text(text)
        before = signal.getsignal(signal.SIGTERM)
        code = main(["plan", "recipes=mine", *words])
        signal.signal(signal.SIGTERM, before)
        told = capsys.readouterr()
        assert "Traceback" not in told.err
        assert SECRET not in told.out + told.err
        return code, told.err

    return planned


def recipe(node, more=""):
    return f"name: mine\nrounds: 0\ncarry: {{}}\nround: {{}}\n{more}\nsetup:\n  one: {{stage: {node}}}\n"


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "subprocess.Popen",
        "builtins.eval",
        "stagesx.evil.Evil",
        "mlflow.MlflowClient",
        "stages",
        ".stages.x",
    ],
)
def test_a_class_outside_of_what_is_trusted_is_never_imported(plan, target):
    code, told = plan(recipe(f"{{_target_: {target}, x: 1}}"))
    assert code == 1
    assert "is outside what may be run" in told


@pytest.mark.parametrize(
    "interpolation",
    [
        "${oc.env:PLANTED_TOKEN}",
        "${oc.env:HOME,x}",
        "${oc.decode:'{a: 1}'}",
        "${oc.create:'{a: 1}'}",
        "${oc.dict.keys:sizes}",
        "${oc.dict.values:sizes}",
        "${oc.deprecated:name}",
        "${hydra:runtime.cwd}",
        "${now:%Y}",
        "${python_version:}",
        "${oc.${kind}:PLANTED_TOKEN}",
    ],
)
def test_no_resolver_but_ours_answers(plan, interpolation):
    more = ("kind: env\n" if "kind" in interpolation else "") + f'value: "{interpolation}"'
    code, told = plan(recipe("{_target_: tests.loops.toys.Constant, value: '${value}'}", more))
    assert code == 1
    assert "none that a recipe may use" in told or "holds one ${...} at most" in told


def test_a_resolver_that_the_user_names_answers(plan, monkeypatch):
    monkeypatch.setenv("SELFLOOP_TRUST", "tests oc.env")
    monkeypatch.setenv("PLAIN", "3")
    from omegaconf import OmegaConf
    from omegaconf.resolvers import oc

    OmegaConf.register_new_resolver("oc.env", oc.env, replace=True)
    node = "{_target_: tests.loops.toys.Constant, value: '${oc.env:PLAIN}'}"
    assert plan(recipe(node))[0] == 0


def test_a_resolver_in_the_defaults_reads_no_environment_either(plan):
    for name in ("PLANTED_TOKEN", "HOME"):
        code, told = plan(f"defaults: ['${{oc.env:{name}}}']\n" + recipe(CHUNK))
        assert code == 1
        assert "defaults is a list of recipes" in told
        assert os.environ["HOME"] not in told.replace(os.getcwd(), "")


@pytest.mark.parametrize(
    "key",
    [
        "store",
        "runs",
        "run",
        "tracker",
        "executor",
        "engine",
        "launch",
        "model",
        "data",
        "scale",
        "hydra",
        "home",
        "closing",
        "number",
    ],
)
def test_what_is_the_users_to_say_no_recipe_says(plan, key):
    for text in (recipe(CHUNK, f"{key}: x"), recipe(CHUNK, f"{key}: {{_target_: os.system}}")):
        code, told = plan(text)
        assert code == 1
        assert f"{key!r} is no part of a recipe; say {key}=... on the command line" in told


def test_a_recipe_that_is_built_on_is_looked_at_as_well(plan, tmp_path):
    (tmp_path / "recipes/base.yaml").write_text("store: /tmp/theirs\n")
    code, told = plan("defaults: [base]\n" + recipe(CHUNK))
    assert code == 1
    assert "base.yaml: 'store' is no part of a recipe" in told


@pytest.mark.parametrize("name", ["../up", "/absolute", "a/b", "", ".", "..", ".hidden", "a b", "é", "x" * 101, "a\\b"])
def test_a_name_that_would_be_another_path_is_refused(plan, name):
    said = json.dumps(name)
    stage = "{stage: {_target_: tests.loops.toys.Constant, value: 1}}"
    texts = [
        f"name: {said}\nrounds: 0\ncarry: {{}}\nround: {{}}\nsetup: {{one: {stage}}}\n",
        f"name: mine\nrounds: 0\ncarry: {{}}\nround: {{}}\nsetup: {{{said}: {stage}}}\n",
        f"name: mine\nrounds: 1\ncarry: {{}}\nsetup: {{}}\nround: {{{said}: {stage}}}\n",
        f"name: mine\nrounds: 0\nround: {{}}\nsetup: {{one: {stage}}}\ncarry: {{{said}: {{init: one, next: one}}}}\n",
    ]
    for text in texts:
        code, told = plan(text)
        assert code == 1, text
        assert "is no plain name" in told
    if name:
        code, told = plan(recipe(CHUNK), f'run="{name}"'.replace("\\", "\\\\"))
        assert code == 1


LOCAL = "{_target_: stages.sources.local.LocalPrompts, path: PATH}"


@pytest.fixture
def outside(tmp_path_factory):
    """A file that lies elsewhere."""
    path = tmp_path_factory.mktemp("elsewhere") / "private.jsonl"
    path.write_text('{"prompt": "private"}\n')
    return path


def test_a_recipe_reads_no_file_outside_of_where_one_stands(plan, tmp_path, outside):
    (tmp_path / "link.jsonl").symlink_to(outside)
    (tmp_path / "recipes/prompts/way.txt").write_text(str(outside))
    detours = [
        (str(outside), ""),
        (os.path.relpath(outside, tmp_path), ""),
        (f"recipes/../{os.path.relpath(outside, tmp_path)}", ""),
        ("link.jsonl", ""),
        ("'${way}'", f"way: {outside}"),
        ("'${text:way}'", ""),
        (f"'${{by_round:{outside}}}'", ""),
        ("'${home}/../../../../../../../etc/passwd.jsonl'", ""),
        ("/dev/zero", ""),
    ]
    for path, more in detours:
        text = recipe(LOCAL.replace("PATH", path), more)
        code, told = plan(text)
        assert code == 1, path
        assert "leads out of the folder where you stand" in told or "by_round" in told, path


def test_a_folder_whose_files_may_run_code_is_named_in_the_environment(plan, tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    planted = tmp_path / "planted"
    (tmp_path / "mine/task.yaml").write_text("task: one\ndoc_to_text: !function rules.ask\n")
    (tmp_path / "mine/rules.py").write_text(f"open({str(planted)!r}, 'w')\n")
    text = recipe("{_target_: stages.evaluate.harness.Harness, tasks: [one], include_path: mine}")
    for trusted, words in (("tests", []), ("tests", ["setup.one.stage.include_path=mine"]), ("mines", ["run=mine"])):
        monkeypatch.setenv("SELFLOOP_TRUST", trusted)
        code, told = plan(text, *words)
        assert code == 1
        assert "list the folder in SELFLOOP_TRUST" in told
    monkeypatch.setenv("SELFLOOP_TRUST", "tests mine")
    code, told = plan(text)
    assert code == 1
    assert "SELFLOOP_TRUST" not in told
    assert not planted.exists()


@pytest.mark.parametrize("tag", ["!!binary L3RtcC94", "!!str x", "!!python/object/apply:pathlib.Path [x]", "!mine x"])
def test_a_recipe_has_no_tags_by_which_a_path_would_be_no_text(plan, tag):
    code, told = plan(recipe("{_target_: stages.sources.local.LocalPrompts, path: " + tag + "}"))
    assert code == 1
    assert "a recipe has no tags" in told


@pytest.mark.parametrize("section", ["patience", "gate"])
def test_a_recipe_chooses_no_class_where_the_class_is_ours(plan, outside, section):
    own = f"{section}: {{_target_: stages.sources.local.LocalPrompts, path: {outside}}}"
    node = "{_target_: tests.loops.toys.Constant, value: 1}"
    code, told = plan(recipe(node, f"sizes: {{x: '${{{section}.path}}'}}\n{own}"))
    assert code == 1
    assert f"{section} has no _target_" in told


def test_a_file_below_where_one_stands_or_that_ships_or_that_the_user_says_is_read(plan, tmp_path, outside):
    (tmp_path / "mine.jsonl").write_text('{"prompt": "mine"}\n')
    assert plan(recipe(LOCAL.replace("PATH", "mine.jsonl")))[0] == 0
    assert plan(recipe(LOCAL.replace("PATH", "'${home}/recipes/seed/prompts.jsonl'")))[0] == 0
    assert plan(recipe(LOCAL.replace("PATH", "'${way}'"), "way: ???"), f"way={outside}")[0] == 0
    assert plan(recipe(LOCAL.replace("PATH", "x.jsonl")), f"setup.one.stage.path={outside}")[0] == 0


@pytest.mark.parametrize(
    "fields",
    [
        "package: numpy, version: 'VERSION', module: tests.loops.toys, file: x",
        "package: numpy, version: 'VERSION', module: numpy, file: ../../../../etc/passwd",
        "package: numpy, version: 'VERSION', module: numpy, file: /etc/passwd",
    ],
)
def test_a_packaged_model_names_a_module_and_a_file_and_no_path(plan, fields):
    import numpy

    fields = fields.replace("VERSION", numpy.__version__)
    code, told = plan(recipe(f"{{_target_: stages.sources.gguf.PackagedGGUF, dtype: float32, {fields}}}"))
    assert code == 1
    assert "module and file are plain names" in told


@pytest.mark.parametrize("repo", ["json", "/etc", "../x", "a/b/c", "recipes/prompts", "./x", "a", "", "-a/b"])
def test_a_repository_of_the_hub_is_no_folder_and_no_format(plan, repo):
    fields = f"repo: '{repo}', revision: '{'0' * 40}'"
    for source in (f"hub.HubPrompts, split: train, {fields}", f"models.HubModel, dtype: float32, {fields}"):
        code, told = plan(recipe(f"{{_target_: stages.sources.{source}}}"))
        assert code == 1
        assert "repo is OWNER/NAME" in told or "is a folder here" in told


def test_an_engine_is_the_users_choice_so_no_recipe_sends_a_key_to_its_own_server(plan):
    engine = "{_target_: stages.engines.server.Server, url: http://127.0.0.1:9/v1, key_variable: PLANTED_TOKEN}"
    sample = f"{{_target_: stages.generate.sample.Sample, n: 1, temperature: 0, max_new_tokens: 1, engine: {engine}}}"
    for text in (recipe(sample), recipe(sample.replace(engine, "'${mine}'"), f"mine: {engine}")):
        code, told = plan(text)
        assert code == 1
        assert "is the user's to choose" in told
    code, told = plan(recipe("{_target_: tests.loops.toys.Constant, value: {_target_: stages.train.launch.Launch}}"))
    assert code == 1
    assert "is the user's to choose" in told
    code, told = plan(recipe("{_target_: loops.executors.Inline}"))
    assert code == 1
    assert "is the user's to choose" in told


def test_a_prompt_that_is_a_link_out_of_its_folder_is_not_read(plan, tmp_path, outside):
    (tmp_path / "recipes/prompts/stolen.txt").symlink_to(outside)
    code, told = plan(recipe("{_target_: tests.loops.toys.Constant, value: 1, place: '${text:stolen}'}"))
    assert code == 1
    assert "is a link that leads out of its folder" in told


def test_a_field_that_holds_a_secret_is_refused_because_fields_are_written_down(plan):
    text = recipe("{_target_: tests.loops.toys.Constant, value: 1, place: here}")
    code, told = plan(text, f"setup.one.stage.place=x{SECRET}y")
    assert code == 1
    assert "setup/one.place holds the value of PLANTED_TOKEN" in told


def test_an_artifact_with_a_link_is_not_kept(tmp_path):
    from loops.manifest import inventory

    (tmp_path / "file").write_text("x")
    (tmp_path / "plots").mkdir()
    (tmp_path / "plots/out").symlink_to("/etc/passwd")
    with pytest.raises(ValueError, match="plots/out is a link to /etc/passwd"):
        inventory(tmp_path)


def test_every_shipped_recipe_passes_what_a_stranger_must_pass():
    from loops.recipe_file import lineage
    from loops.shipped import recipes

    shipped = {name: file for name, file in recipes().items() if file.is_relative_to(home())}
    assert len(shipped) >= 6
    for name in shipped:
        assert name in lineage(name, shipped)


def test_the_dashboard_listens_on_this_machine_alone():
    assert "--host 127.0.0.1" in " ".join(command("sqlite:///runs/mlflow.db", 5000))
    assert "mlflow ui" not in (home() / "Makefile").read_text()
