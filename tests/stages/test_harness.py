"""lm-evaluation-harness on a policy, without a network: tasks and data of one's own."""

import json
import shutil
from pathlib import Path

import pytest

from stages.artifacts import Report
from stages.evaluate.harness_results import told
from stages.evaluate.interval import wilson
from stages.evaluate.task_files import folder_hash

QUESTIONS = [
    ("How many sides has a triangle?", ["three", "four", "five"], 0),
    ("How many sides has a square?", ["three", "four", "five"], 1),
    ("What colour is grass?", ["green", "purple", "red"], 0),
    ("What do bees make?", ["honey", "milk", "bread"], 0),
    ("Which is the coldest?", ["fire", "ice", "steam"], 1),
    ("Which animal barks?", ["a dog", "a cat", "a fish"], 0),
    ("What falls from clouds?", ["sand", "salt", "rain"], 2),
    ("What is written with?", ["a spoon", "a pen", "a shoe"], 1),
]
CHOICE = """
task: {name}
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{question}}}}"
doc_to_choice: "{{{{choices}}}}"
doc_to_target: {target}
metric_list: [{{metric: acc, aggregation: mean, higher_is_better: true}}]
"""
SPOKEN = """
include: choosing.yaml
task: saying
output_type: generate_until
doc_to_choice: null
doc_to_target: "{{choices[answer]}}"
generation_kwargs: {until: ["\\n"], max_gen_toks: 4, do_sample: false}
metric_list: [{metric: exact_match, aggregation: mean, higher_is_better: true}]
num_fewshot: 0
"""
GROUP = """
group: both
task: [choosing, by_code]
aggregate_metric_list: [{metric: acc, aggregation: mean, weight_by_size: true}]
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return written(tmp_path_factory.mktemp("harness") / "mine")


def written(folder):
    folder.mkdir()
    data = folder / "questions.jsonl"
    rows = ({"question": question, "choices": choices, "answer": right} for question, choices, right in QUESTIONS)
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "choosing.yaml").write_text(CHOICE.format(name="choosing", data=data, target="answer"))
    (folder / "by_code.yaml").write_text(CHOICE.format(name="by_code", data=data, target="!function rules.always_last"))
    (folder / "rules.py").write_text("def always_last(doc):\n    return 2\n")
    (folder / "saying.yaml").write_text(SPOKEN)
    (folder / "both.yaml").write_text(GROUP)
    return folder


@pytest.fixture(scope="module")
def harness(folder):
    """``harness(task, ..., field=value)``, with the tasks of the folder."""
    pytest.importorskip("lm_eval", reason="lm_eval is not installed")
    from stages.evaluate.harness import Harness

    return lambda *tasks, **fields: Harness(tasks=list(tasks), include_path=str(folder), **fields)


def test_what_is_right_is_what_the_model_finds_likeliest(harness, tiny_model, artifact):
    out = artifact(Report)
    metrics = harness("choosing", "saying", batch_size=3)(policy=tiny_model, out=out)
    right = [likeliest(tiny_model, question, choices) == answer for question, choices, answer in QUESTIONS]
    share = sum(right) / len(right)
    low, high = wilson(share, len(right))
    assert metrics["choosing/acc"] == share
    assert (metrics["choosing/acc_low"], metrics["choosing/acc_high"]) == pytest.approx((low, high))
    assert metrics["choosing/questions"] == metrics["saying/questions"] == len(QUESTIONS)
    assert 0 <= metrics["saying/exact_match_low"] < metrics["saying/exact_match_high"]
    assert out.read() == metrics
    assert json.loads((out.path / "results.json").read_text())["results"]["choosing"]["acc,none"] == share


def likeliest(model, question, choices):
    """By one forward pass for each choice."""
    import torch

    from stages.engines.models import load_model, load_tokenizer

    network, tokenizer = load_model(model), load_tokenizer(model)

    def likelihood(choice):
        before, whole = tokenizer(question).input_ids, tokenizer(f"{question} {choice}").input_ids
        logits = network(torch.tensor([whole])).logits[0].log_softmax(-1)
        return sum(logits[place - 1, whole[place]].item() for place in range(len(before), len(whole)))

    return max(range(len(choices)), key=lambda place: likelihood(choices[place]))


def test_a_group_is_told_whole_and_how_many_are_asked_at_once_changes_nothing(harness, tiny_model, artifact):
    outs = [artifact(Report) for _ in range(2)]
    many, few = (
        harness("both", limit=6, num_fewshot=1, chat_template=True, batch_size=size)(policy=tiny_model, out=out)
        for size, out in zip((16, 1), outs, strict=True)
    )
    assert many == few
    assert {name.split("/")[0] for name in many} == {"both"}
    assert many["both/acc_low"] < many["both/acc"] < many["both/acc_high"]
    kept = [json.loads((out.path / "results.json").read_text()) for out in outs]
    assert kept[0] == kept[1]
    assert kept[0]["n-shot"]["choosing"] == 1
    assert kept[0]["n-samples"]["choosing"] == {"effective": 6, "original": 8}
    assert len(set(kept[0]["task_hashes"].values())) == 2


def test_the_policys_tokenizer_stays_as_it_was(harness, tiny_model, tmp_path, artifact):
    from stages.artifacts import Model
    from stages.engines.models import load_tokenizer

    shutil.copytree(tiny_model.path, tmp_path / "model")
    settings = tmp_path / "model/tokenizer_config.json"
    kept = {name: value for name, value in json.loads(settings.read_text()).items() if name != "pad_token"}
    settings.write_text(json.dumps(kept))
    model = Model(tmp_path / "model")
    harness("saying", limit=2)(policy=model, out=artifact(Report))
    assert load_tokenizer(model).pad_token is None


def test_examples_that_a_task_would_ignore_are_refused(harness, tiny_model, artifact):
    with pytest.raises(ValueError, match="saying is asked without examples"):
        harness("saying", num_fewshot=2)(policy=tiny_model, out=artifact(Report))


def test_a_task_that_is_edited_after_planning_is_refused(harness, folder, tiny_model, artifact):
    stage, data = harness("choosing"), folder / "questions.jsonl"
    text = data.read_text()
    try:
        data.write_text(text + text.splitlines()[0].replace("triangle", "tripod") + "\n")
        with pytest.raises(ValueError, match="has changed since it was planned"):
            stage(policy=tiny_model, out=artifact(Report))
    finally:
        data.write_text(text)


@pytest.mark.parametrize("name", ["chosing", "rules.py", "mine/choosing.yaml", "/mine/choosing.yaml"])
def test_a_task_that_there_is_not_is_refused_while_planning(harness, name):
    with pytest.raises(ValueError, match="has no task"):
        harness(name)


def test_every_task_that_ships_is_known_while_planning(harness):
    from stages.evaluate.harness import _tasks
    from stages.evaluate.task_files import is_known

    stage = harness("arc_easy")
    shipped = _tasks(stage.include_path, stage.sha256).all_tasks
    assert len(shipped) > 1000
    assert [name for name in shipped if not is_known(name, stage.include_path)] == []


@pytest.mark.parametrize("fields", [{"limit": 0}, {"num_fewshot": -1}, {"batch_size": 0}, {"limit": -3}])
def test_numbers_that_make_no_sense_are_refused(harness, fields):
    with pytest.raises(ValueError, match="at least"):
        harness("choosing", **fields)


def test_without_the_package_it_is_said_how_to_get_it():
    from importlib.util import find_spec

    from stages.evaluate.harness import Harness

    if find_spec("lm_eval"):
        pytest.skip("lm_eval is installed")
    with pytest.raises(ValueError, match="pip install"):
        Harness(tasks=["arc_easy"])


def test_a_folder_is_known_by_what_is_in_it_and_nothing_of_it_is_run(tmp_path):
    first = written(tmp_path / "first")
    planted = tmp_path / "planted"
    (first / "rules.py").write_text(f"open({str(planted)!r}, 'w')\n")
    known = folder_hash(str(first))
    assert folder_hash(str(first)) == known
    (first / "rules.py").write_text("def always_last(doc):\n    return 1\n")
    assert folder_hash(str(first)) != known
    assert not planted.exists()


def test_a_folder_that_moves_is_the_same(tmp_path):
    text = CHOICE.format(name="choosing", data="somebody/somewhere", target="answer")
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "task.yaml").write_text(text)
    assert folder_hash(str(tmp_path / "here")) == folder_hash(str(tmp_path / "there"))


@pytest.mark.parametrize(
    "read",
    [
        "include: ../outside.yaml",
        "include: missing.yaml",
        "dataset_kwargs: {data_files: {test: outside.jsonl}}",
        "dataset_kwargs: {data_files: [mine/inside.jsonl, '*.jsonl']}",
        "dataset_kwargs: {data_files: inside.jsonl}",
        "dataset_kwargs: {data_dir: /}",
        "dataset_path: data",
    ],
)
def test_what_a_task_reads_lies_in_its_folder(tmp_path, monkeypatch, read):
    monkeypatch.chdir(tmp_path)
    for place in ("mine", "data"):
        Path(place).mkdir()
    for file in ("outside.yaml", "outside.jsonl", "mine/inside.jsonl"):
        Path(file).write_text("{}\n")
    Path("mine/task.yaml").write_text(f"task: one\n{read}\n")
    with pytest.raises(ValueError, match=r"mine/task\.yaml: .* is nothing in mine"):
        folder_hash("mine")


@pytest.mark.parametrize(
    "read",
    [
        "dataset_path: allenai/ai2_arc",
        "dataset_kwargs: {data_files: 'https://somewhere/questions.jsonl'}",
        "dataset_kwargs: {data_files: {test: mine/inside.jsonl, train: 'mine/*.jsonl'}}",
        "include: other.yaml",
    ],
)
def test_what_is_elsewhere_or_inside_may_be_read(tmp_path, monkeypatch, read):
    monkeypatch.chdir(tmp_path)
    Path("mine").mkdir()
    Path("mine/inside.jsonl").write_text("{}\n")
    Path("mine/other.yaml").write_text("task: other\n")
    Path("mine/task.yaml").write_text(f"task: one\n{read}\n")
    assert len(folder_hash("mine")) == 64


@pytest.mark.parametrize(("text", "message"), [("task: [", "is not YAML"), (None, "expected a folder with task files")])
def test_a_folder_without_tasks_is_refused(tmp_path, text, message):
    if text is not None:
        (tmp_path / "task.yaml").write_text(text)
    with pytest.raises(ValueError, match=message):
        folder_hash(str(tmp_path))


def test_a_share_has_wilsons_interval_and_another_mean_the_normal_one():
    found = results({"acc,none": 1.0, "acc_stderr,none": 0.0, "f1,none": 0.5, "f1_stderr,none": 0.1}, 8)
    assert (found["t/acc_low"], found["t/acc_high"]) == wilson(1.0, 8)
    assert (found["t/f1_low"], found["t/f1_high"]) == pytest.approx((0.304, 0.696), abs=1e-4)


def test_what_could_not_be_computed_is_null_and_an_unknown_error_gives_no_interval():
    found = results({"bleu,none": 3.5, "bleu_stderr,none": "N/A", "mcc,none": float("nan"), "mcc_stderr,none": 0.1}, 8)
    assert found == {"t/questions": 8.0, "t/bleu": 3.5, "t/mcc": None}


def test_answers_that_are_read_in_two_ways_have_two_names():
    found = results({"em,strict-match": 0.5, "em,flexible extract": 0.75}, 8)
    assert found == {"t/questions": 8.0, "t/em/strict-match": 0.5, "t/em/flexible_extract": 0.75}


def results(measured, count):
    found = {"results": {"t": {"name": "t", "alias": "t", "sample_len": count, **measured}}}
    return dict(told({**found, "n-samples": {"t": {"original": count, "effective": count}}, "group_subtasks": {}}))
