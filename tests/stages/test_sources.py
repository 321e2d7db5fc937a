"""Sources: anybody's columns, and errors that name file, row and what was expected."""

import json

import pytest

from stages.artifacts import Model, Pairs, Prompts
from stages.sources.gguf import LocalGGUF, PackagedGGUF
from stages.sources.hub import HubPairs, HubPrompts
from stages.sources.local import LocalPairs, LocalPrompts
from stages.sources.models import HubModel, LocalModel


def jsonl(path, *rows):
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return str(path)


def prompts(artifact, path, **fields):
    out = artifact(Prompts)
    LocalPrompts(path=path, **fields)(out=out)
    return list(out.rows())


def pairs(artifact, path, **fields):
    out = artifact(Pairs)
    LocalPairs(path=path, **fields)(out=out)
    return list(out.rows())


def test_text_becomes_a_conversation(artifact, tmp_path):
    (row,) = prompts(artifact, jsonl(tmp_path / "a.jsonl", {"question": "Why?"}), columns={"prompt": "question"})
    assert row == {"prompt_id": "1", "prompt": [{"role": "user", "content": "Why?"}]}


def test_a_conversation_and_an_id_are_kept(artifact, tmp_path):
    turns = [{"role": r, "content": r} for r in ("system", "user", "assistant", "user")]
    path = jsonl(tmp_path / "a.jsonl", {"prompt": turns, "key": 7})
    (row,) = prompts(artifact, path, columns={"prompt": "prompt", "prompt_id": "key"})
    assert row == {"prompt_id": "7", "prompt": turns}


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "parquet"])
def test_every_format_gives_the_same_rows(artifact, tmp_path, suffix):
    import csv

    import pyarrow as pa
    import pyarrow.parquet as parquet

    rows = [{"prompt": f"question {i}, with a comma", "chosen": "yes", "rejected": "no"} for i in range(3)]
    path = tmp_path / f"a.{suffix}"
    if suffix == "jsonl":
        jsonl(path, *rows)
    elif suffix == "parquet":
        parquet.write_table(pa.Table.from_pylist(rows), path)
    else:
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    read = pairs(artifact, str(path))
    assert [row["prompt"][0]["content"] for row in read] == [row["prompt"] for row in rows]
    assert read[0]["chosen"] == [{"role": "assistant", "content": "yes"}]
    assert read[0]["source"] == "offline"
    assert read[0]["chosen_logp"] is None


def test_an_answer_may_be_the_end_of_a_conversation(artifact, tmp_path):
    whole = [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "Because."}]
    path = jsonl(tmp_path / "a.jsonl", {"prompt": "Why?", "chosen": whole, "rejected": "No."})
    assert pairs(artifact, path)[0]["chosen"] == [{"role": "assistant", "content": "Because."}]


def test_rows_are_skipped_limited_and_shuffled_by_a_seed(artifact, tmp_path):
    path = jsonl(tmp_path / "a.jsonl", *({"prompt": f"q{i}"} for i in range(10)))
    ids = lambda **fields: [row["prompt_id"] for row in prompts(artifact, path, **fields)]  # noqa: E731
    assert ids(skip=2, limit=3) == ["3", "4", "5"]
    assert ids(shuffle=1) == ids(shuffle=1) != ids(shuffle=2)
    assert sorted(ids(shuffle=1, skip=5) + ids(shuffle=1, limit=5), key=int) == [str(i) for i in range(1, 11)]


GOOD = {"prompt": "Why?", "chosen": "Because.", "rejected": "No."}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("{not json", r"a.jsonl, row 2: expected a JSON object, but"),
        ("[1, 2]", r"a.jsonl, row 2: expected a JSON object, got \[1, 2\]"),
        ({"prompt": "Why?"}, r"a.jsonl, row 2: no column 'chosen'; there is prompt"),
        (GOOD | {"prompt": ""}, r"row 2, prompt: expected text or a list of \{role, content\}, got ''"),
        (GOOD | {"prompt": 3}, r"row 2, prompt: expected text or a list"),
        (GOOD | {"prompt": [{"role": "user"}]}, r"row 2, prompt: expected \{role: system | user"),
        (GOOD | {"prompt": [{"role": "bot", "content": "x"}]}, r"row 2, prompt: expected \{role"),
        (GOOD | {"prompt": [{"role": "assistant", "content": "x"}]}, r"row 2, prompt: .* ends with the user"),
        (
            GOOD | {"chosen": [{"role": "user", "content": "Other?"}, {"role": "assistant", "content": "x"}]},
            r"of its prompt",
        ),
        (GOOD | {"chosen": " "}, r"row 2, chosen: expected an answer of the assistant that is not empty"),
        (GOOD | {"rejected": None}, r"row 2, rejected: expected text or a conversation"),
    ],
)
def test_a_malformed_row_is_an_error_with_file_row_and_what_was_expected(artifact, tmp_path, row, message):
    with pytest.raises(ValueError, match=message):
        pairs(artifact, jsonl(tmp_path / "a.jsonl", GOOD, row))


def test_an_id_that_occurs_twice_is_an_error(artifact, tmp_path):
    path = jsonl(tmp_path / "a.jsonl", {"prompt": "a", "id": 1}, {"prompt": "b", "id": 1})
    with pytest.raises(ValueError, match="row 2: the id '1' occurs twice"):
        prompts(artifact, path, columns={"prompt": "prompt", "prompt_id": "id"})


def test_a_file_that_is_not_what_its_name_says_is_an_error(artifact, tmp_path):
    (tmp_path / "a.parquet").write_text("hello")
    (tmp_path / "b.jsonl").write_bytes(b'{"prompt": "\xff"}')
    with pytest.raises(ValueError, match=r"a.parquet: not a parquet file"):
        prompts(artifact, str(tmp_path / "a.parquet"))
    with pytest.raises(ValueError, match=r"b.jsonl, row 1: expected UTF-8"):
        prompts(artifact, str(tmp_path / "b.jsonl"))


def test_no_row_at_all_is_an_error(artifact, tmp_path):
    with pytest.raises(ValueError, match="no row is left"):
        prompts(artifact, jsonl(tmp_path / "a.jsonl"))
    with pytest.raises(ValueError, match="no row is left"):
        pairs(artifact, jsonl(tmp_path / "b.jsonl", GOOD), skip=1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LocalPrompts(path="nowhere.jsonl"), "there is no such file"),
        (lambda: LocalPrompts(path="a.jsonl", limit=-1), "limit at least 1"),
        (lambda: LocalPrompts(path="a.jsonl", skip=-1), "skip must be at least 0"),
        (lambda: LocalPrompts(path="a.txt"), "expected a file ending in"),
        (lambda: HubModel(repo="a/b", revision="main", dtype="float32"), "revision must be a commit"),
        (lambda: HubPrompts(repo="a/b", revision="v1.0", split="train"), "revision must be a commit"),
        (lambda: HubPairs(repo="a/b", revision="0" * 40, split="train", columns={"prompt": "x"}), "'chosen'"),
        (
            lambda: HubPrompts(repo="a/b", revision="0" * 40, split="s", columns={"prompt": "x", "chosen": "y"}),
            "have no",
        ),
        (
            lambda: PackagedGGUF(package="no-such-package", version="1", module="x", file="y", dtype="float32"),
            "not installed; pip install",
        ),
        (
            lambda: PackagedGGUF(package="numpy", version="0.1", module="numpy", file="y", dtype="float32"),
            "is installed, not 0.1",
        ),
        (lambda: LocalGGUF(path="nowhere.gguf", dtype="float32"), "there is no such file"),
        (lambda: LocalModel(path=".", dtype="float32"), "expected a model directory"),
    ],
)
def test_what_can_be_known_while_planning_is_refused_while_planning(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_file_is_known_by_what_is_in_it_and_not_by_where_it_lies(tmp_path):
    from loops.fingerprint import fingerprint

    first, copy = jsonl(tmp_path / "a.jsonl", GOOD), jsonl(tmp_path / "b.jsonl", GOOD)
    assert fingerprint(LocalPrompts(path=first)) == fingerprint(LocalPrompts(path=copy))
    jsonl(tmp_path / "b.jsonl", GOOD, GOOD)
    assert fingerprint(LocalPrompts(path=first)) != fingerprint(LocalPrompts(path=copy))


def test_a_file_that_changed_since_it_was_planned_is_noticed(artifact, tmp_path):
    stage = LocalPrompts(path=jsonl(tmp_path / "a.jsonl", GOOD))
    jsonl(tmp_path / "a.jsonl", GOOD, GOOD)
    with pytest.raises(ValueError, match="has changed since it was planned"):
        stage(out=artifact(Prompts))


def test_a_row_is_known_by_its_line(artifact, tmp_path):
    (tmp_path / "a.jsonl").write_text('{"prompt": "a"}\n\n\n{"prompt": 4}\n')
    with pytest.raises(ValueError, match="row 4, prompt"):
        prompts(artifact, str(tmp_path / "a.jsonl"))


def test_a_gguf_becomes_an_ordinary_model_with_the_same_weights(artifact, tiny_model, tmp_path):
    """Write the tiny model as a GGUF with the gguf package, read it back, and compare what it computes."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from tests.stages.write_gguf import write_gguf

    path = write_gguf(tiny_model, tmp_path / "tiny.gguf")
    out = artifact(Model)
    LocalGGUF(path=str(path), dtype="float32")(out=out)
    theirs, ours = (AutoModelForCausalLM.from_pretrained(p, dtype=torch.float32) for p in (tiny_model.path, out.path))
    ids = torch.tensor([[5, 6, 7, 8, 9]])
    with torch.no_grad():
        assert torch.allclose(theirs(ids).logits, ours(ids).logits, atol=1e-3)
    assert (out.path / "model.safetensors").exists()
    assert "quantization_config" not in json.loads((out.path / "config.json").read_text())
    assert AutoTokenizer.from_pretrained(out.path).chat_template


def test_a_local_model_is_taken_as_it_is(artifact, tiny_model):
    out = artifact(Model)
    LocalModel(path=str(tiny_model.path), dtype="float32")(out=out)
    names = {file.name for file in out.path.iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "chat_template.jinja"} <= names
