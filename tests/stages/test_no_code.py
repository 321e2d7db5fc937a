"""Somebody's weights and checkpoints: no pickle is opened, and no code that lies beside them is run."""

import ast
import json
import pickle
import shutil
from pathlib import Path

import pytest
import torch

from stages.artifacts import Model, Pairs, RewardModel
from stages.sources.models import LocalModel
from stages.sources.reward import LocalReward
from stages.train.dpo import DPO
from stages.train.objectives import Sigmoid
from stages.train.training import Execution
from tests.stages.rows import pair

ROOT = Path(__file__).parents[2]
SOURCES = [path for package in ("loops", "stages") for path in (ROOT / package).rglob("*.py")]
PAIRS = [pair(f"p{i}", f"Question {i}?", f"Yes, {i} is fine.", f"No number {i} here.") for i in range(8)]


class Planted:
    """A pickle that makes a file when it is opened."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.fixture
def planted(tmp_path):
    return tmp_path / "the-code-was-run"


def copied(model, path):
    shutil.copytree(model.path, path)
    return path


def test_our_sources_open_no_pickle_and_trust_no_code():
    for path in SOURCES:
        text = path.read_text(encoding="utf-8")
        for word in (
            "import pickle",
            "torch.load",
            "np.load(",
            "allow_pickle",
            "joblib",
            "exec(",
            "eval(",
            "os.system",
        ):
            assert word not in text.replace(".eval(", "(").replace("_eval(", "("), f"{path}: {word}"
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.keyword) and node.arg == "trust_remote_code":
                assert isinstance(node.value, ast.Constant)
                assert node.value.value is False, path
            called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            if called.startswith("Auto") and called.endswith(".from_pretrained"):
                said = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
                assert said.get("trust_remote_code") == "False", f"{path}, line {node.lineno}"
                weights = "Tokenizer" not in called and "Config" not in called
                assert not weights or {"use_safetensors", None} & set(said), f"{path}, line {node.lineno}"


@pytest.mark.parametrize("source", [LocalModel, LocalReward])
def test_a_directory_with_pickled_weights_alone_is_refused_while_planning(tiny_model, tmp_path, planted, source):
    path = copied(tiny_model, tmp_path / "pickled")
    (path / "model.safetensors").unlink()
    (path / "pytorch_model.bin").write_bytes(pickle.dumps(Planted(planted)))
    with pytest.raises(ValueError, match=r"expected a model directory with \*.safetensors"):
        source(path=str(path), dtype="float32")
    assert not planted.exists()


def test_pickles_beside_safetensors_are_never_opened(artifact, tiny_model, tmp_path, planted):
    path = copied(tiny_model, tmp_path / "both")
    for name in (
        "pytorch_model.bin",
        "training_args.bin",
        "optimizer.pt",
        "scheduler.pt",
        "rng_state.pth",
        "model.pkl",
    ):
        (path / name).write_bytes(pickle.dumps(Planted(planted)))
    LocalModel(path=str(path), dtype="float32")(out=artifact(Model))
    assert not planted.exists()


@pytest.mark.parametrize("source", [(LocalModel, Model), (LocalReward, RewardModel)])
def test_an_adapter_is_refused_before_the_base_that_it_names_or_a_pickle_is_opened(
    artifact, tiny_model, tmp_path, planted, source
):
    path = copied(tiny_model, tmp_path / "adapter")
    config = {"peft_type": "LORA", "base_model_name_or_path": str(tiny_model.path), "target_modules": ["q_proj"]}
    (path / "adapter_config.json").write_text(json.dumps(config))
    (path / "adapter_model.bin").write_bytes(pickle.dumps(Planted(planted)))
    stage, kind = source
    with pytest.raises(ValueError, match="is an adapter and no whole model; merge it"):
        stage(path=str(path), dtype="float32")(out=artifact(kind))
    assert not planted.exists()


def test_an_index_that_leads_to_a_pickle_is_refused(artifact, tiny_model, tmp_path, planted):
    path = copied(tiny_model, tmp_path / "led")
    (path / "model.safetensors").rename(path / "other.safetensors")
    (path / "shard.bin").write_bytes(pickle.dumps(Planted(planted)))
    config = {"metadata": {}, "weight_map": {"lm_head.weight": "shard.bin"}}
    (path / "model.safetensors.index.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="led cannot be read as a model without code of its own"):
        LocalModel(path=str(path), dtype="float32")(out=artifact(Model))
    assert not planted.exists()


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("source", [(LocalModel, Model), (LocalReward, RewardModel)])
def test_code_that_lies_beside_a_model_is_not_run(artifact, tiny_model, tmp_path, planted, known, source):
    path = copied(tiny_model, tmp_path / "coded")
    code = f"open({str(planted)!r}, 'w')\nclass Config: pass\nclass Net: pass\nclass Words: pass\n"
    (path / "modeling_x.py").write_text(code)
    settings = json.loads((path / "config.json").read_text())
    settings["auto_map"] = {
        "AutoConfig": "modeling_x.Config",
        "AutoModelForCausalLM": "modeling_x.Net",
        "AutoModelForSequenceClassification": "modeling_x.Net",
    }
    settings |= {} if known else {"model_type": "a_type_of_its_own", "architectures": ["Net"]}
    (path / "config.json").write_text(json.dumps(settings))
    words = json.loads((path / "tokenizer_config.json").read_text())
    words["auto_map"] = {"AutoTokenizer": ["modeling_x.Words", "modeling_x.Words"]}
    words |= {} if known else {"tokenizer_class": "Words"}
    (path / "tokenizer_config.json").write_text(json.dumps(words))
    stage, kind = source
    try:
        stage(path=str(path), dtype="float32")(out=artifact(kind))
    except ValueError as refused:
        said = str(refused)
        assert str(path) in said
    else:
        assert known
    assert not planted.exists()


BROKEN = {
    "no JSON": lambda path: (path / "config.json").write_text("{no"),
    "a list": lambda path: (path / "config.json").write_text("[1]"),
    "no type": lambda path: (path / "config.json").write_text("{}"),
    "no config": lambda path: (path / "config.json").unlink(),
    "an unknown type": lambda path: (path / "config.json").write_text('{"model_type": "nothing"}'),
    "wrong sizes": lambda path: changed(path / "config.json", hidden_size=48),
    "no size": lambda path: changed(path / "config.json", num_hidden_layers="two"),
    "empty weights": lambda path: (path / "model.safetensors").write_bytes(b""),
    "weights of text": lambda path: (path / "model.safetensors").write_text("hello " * 100),
    "a header without end": lambda path: (path / "model.safetensors").write_bytes(b"\xff" * 64),
    "weights cut off": lambda path: (path / "model.safetensors").write_bytes(
        (path / "model.safetensors").read_bytes()[:5000]
    ),
    "no tokenizer": lambda path: [file.unlink() for file in path.glob("tokenizer*")],
    "a broken tokenizer": lambda path: (path / "tokenizer.json").write_text('{"model": {}}'),
    "latin": lambda path: (path / "tokenizer_config.json").write_bytes(b'{"a": "\xe9"}'),
}


def changed(path, **settings):
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))


@pytest.mark.parametrize("what", BROKEN)
@pytest.mark.filterwarnings("ignore")
def test_a_broken_model_directory_is_refused_in_a_line_that_names_it(artifact, tiny_model, tmp_path, what):
    path, out = copied(tiny_model, tmp_path / "broken"), artifact(Model)
    BROKEN[what](path)
    with pytest.raises(ValueError, match=r"/broken\b") as refused:
        LocalModel(path=str(path), dtype="float32")(out=out)
    assert "\n" not in str(refused.value)
    assert not list(out.path.iterdir())


@pytest.mark.parametrize("content", [b"", b"GGUF", b"GGUF" + b"\xff" * 100, b"hello" * 50])
def test_a_broken_gguf_is_refused_in_a_line_that_names_it(artifact, tmp_path, content):
    from stages.sources.gguf import LocalGGUF

    (tmp_path / "broken.gguf").write_bytes(content)
    with pytest.raises(ValueError, match=r"broken.gguf cannot be read as a model") as refused:
        LocalGGUF(path=str(tmp_path / "broken.gguf"), dtype="float32")(out=artifact(Model))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", ["optimizer.pt", "scheduler.pt", "rng_state.pth", "training_args.bin"])
def test_a_pickle_planted_in_a_checkpoint_does_not_run_on_resuming(artifact, tiny_model, monkeypatch, planted, name):
    from stages.train import curve

    out, check = artifact(Model), curve.check
    stage = DPO(
        loss=Sigmoid(beta=0.1),
        learning_rate=1e-3,
        max_steps=3,
        batch=4,
        execution=Execution(micro_batch=4, checkpoint_every=1),
    )
    inputs = {"pairs": artifact(Pairs, PAIRS), "policy": tiny_model, "reference": tiny_model}

    def interrupted(step, logs, from_reference):
        if step == 2:
            raise KeyboardInterrupt
        check(step, logs, from_reference)

    monkeypatch.setattr(curve, "check", interrupted)
    with pytest.raises(KeyboardInterrupt):
        stage(out=out, **inputs)
    monkeypatch.setattr(curve, "check", check)
    (checkpoint,) = out.scratch.glob("checkpoint-*")
    assert (checkpoint / name).exists()
    torch.save({"state": Planted(planted)}, checkpoint / name)
    seal = json.loads((checkpoint / "whole.json").read_text())
    seal["sizes"][name] = (checkpoint / name).stat().st_size
    (checkpoint / "whole.json").write_text(json.dumps(seal))
    if name == "training_args.bin":
        stage(out=out, **inputs)
    else:
        with pytest.raises(Exception, match=r"(?i)weights.only|unsupported"):
            stage(out=out, **inputs)
    assert not planted.exists()
