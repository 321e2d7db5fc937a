"""A real, tiny model: a random Llama of two layers with a tokenizer made here. Nothing touches the network."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["SELFLOOP_TRUST"] = "tests"
os.environ["OMP_NUM_THREADS"] = "1"

import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@pytest.fixture(scope="session")
def tiny_model_path(tmp_path_factory) -> Path:
    """A directory that transformers loads: 2 layers of width 32, some hundred tokens, and answers that mostly end."""
    return make_model(tmp_path_factory.mktemp("models") / "tiny", head_dim=8)


@pytest.fixture(scope="session")
def wide_model_path(tmp_path_factory) -> Path:
    """The same with heads of 32, which are the narrowest that vLLM attends with on a CPU."""
    return make_model(tmp_path_factory.mktemp("models") / "wide", head_dim=32)


def make_model(path: Path, *, head_dim: int) -> Path:
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    lines = (ROOT / "recipes/seed/prompts.jsonl").read_text(encoding="utf-8").splitlines()
    texts = [json.loads(line)["prompt"][0]["content"] for line in lines]
    tokenizer.train_from_iterator(texts, trainer)
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    wrapped.chat_template = TEMPLATE
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(wrapped),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=head_dim,
        max_position_embeddings=512,
        bos_token_id=wrapped.convert_tokens_to_ids("<|im_start|>"),
        eos_token_id=wrapped.eos_token_id,
        pad_token_id=wrapped.pad_token_id,
        initializer_range=0.2,
    )
    model = LlamaForCausalLM(config)
    learn_to_end(model, [[*wrapped(text).input_ids[:8], wrapped.eos_token_id] for text in texts])
    model.generation_config.eos_token_id = wrapped.eos_token_id
    model.save_pretrained(path)
    wrapped.save_pretrained(path)
    return path


def learn_to_end(model, answers):
    """A minute's schooling in two seconds: after about eight tokens an answer is over."""
    import torch

    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for step in range(80):
        rows = [answers[(16 * step + row) % len(answers)] for row in range(16)]
        ids = torch.tensor([row + [-100] * (9 - len(row)) for row in rows])
        loss = model(input_ids=ids.clamp(min=0), labels=ids).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()


@pytest.fixture
def tiny_model(tiny_model_path):
    from stages.artifacts import Model

    return Model(tiny_model_path)


@pytest.fixture
def other_model(tiny_model, tmp_path):
    """The tiny model with other weights."""
    return changed(tiny_model, tmp_path / "other")


def changed(original, path):
    """A model with other weights, at this path."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from stages.artifacts import Model

    model = AutoModelForCausalLM.from_pretrained(original.path, dtype=torch.float32)
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.02)
    model.save_pretrained(path)
    AutoTokenizer.from_pretrained(original.path).save_pretrained(path)
    return Model(path)


@pytest.fixture(scope="session")
def wide_models(wide_model_path, tmp_path_factory):
    """Two models that differ in their weights alone, and that vLLM serves on a CPU."""
    from stages.artifacts import Model

    first = Model(wide_model_path)
    return first, changed(first, tmp_path_factory.mktemp("models") / "other_wide")


@pytest.fixture
def artifact(tmp_path):
    """Makes an empty artifact of a kind: ``artifact(Pairs)``, or ``artifact(Pairs, rows)`` with rows."""
    count = 0

    def make(kind, rows=None):
        nonlocal count
        count += 1
        path = tmp_path / f"{kind.__name__.lower()}-{count}"
        path.mkdir()
        made = kind(path)
        if rows is not None:
            made.write(rows)
        return made

    return make


def pytest_addoption(parser):
    parser.addoption("--golden", action="store_true", help="write the golden plans anew")
