"""Every reader against broken files: one line that names the file and the row, nothing written, no hang."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stages.artifacts import Demonstrations, Pairs, Prompts
from stages.sources.demonstrations import LocalDemonstrations, LocalJudgements
from stages.sources.local import LocalPairs, LocalPrompts
from tests.fuzz.broken import GOOD, broken

FUZZ = settings(
    derandomize=True,
    deadline=None,
    max_examples=80,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
RUBRIC = "<question>{question}</question> <response>{response}</response> Score:"


def source(kind, path):
    """The source that reads a kind, and the kind of what it makes."""
    columns = {name: name for name in GOOD[kind] if name != "id"} | {"prompt_id": "id"}
    return {
        "prompts": lambda: (LocalPrompts(path=path, columns=columns), Prompts),
        "pairs": lambda: (LocalPairs(path=path, columns=columns), Pairs),
        "demonstrations": lambda: (LocalDemonstrations(path=path, columns=columns), Demonstrations),
        "judgements": lambda: (LocalJudgements(path=path, rubric=RUBRIC), Demonstrations),
    }[kind]()


def refusal(kind, path, folder):
    """What the reader says of a file; None if it takes it."""
    stage, made = source(kind, str(path))
    folder.mkdir(exist_ok=True)
    try:
        stage(out=made(folder))
    except ValueError as refused:
        assert not list(folder.glob("*.parquet")), "a refused file leaves nothing behind"
        return str(refused)
    for part in folder.glob("*.parquet"):
        part.unlink()
    return None


def test_more_than_five_hundred_broken_files_are_each_refused_in_a_line_that_names_file_and_row(tmp_path):
    cases = broken()
    assert len({(case.suffix, case.content) for case in cases}) >= 500
    for number, case in enumerate(cases):
        path = tmp_path / f"broken-{number}.{case.suffix}"
        path.write_bytes(case.content)
        said = refusal(case.kind, path, tmp_path / "out")
        shown = case.content[-300:]
        assert said is not None, f"a broken file was taken: {shown!r}"
        assert path.name in said, f"{said!r} does not name the file"
        assert "\n" not in said
        assert len(said) < 1000
        if case.row is not None:
            assert f"row {case.row}" in said, f"{said!r} does not name row {case.row} of {shown!r}"
        path.unlink()


def test_the_good_files_that_they_were_made_of_are_taken(tmp_path):
    for kind, row in GOOD.items():
        path = tmp_path / "good.jsonl"
        scores = [{"score": place} for place in range(4)] if kind == "judgements" else [{}] * 4
        rows = [row | {"id": place} | scores[place] for place in range(4)]
        path.write_text("".join(json.dumps(one) + "\n" for one in rows))
        assert refusal(kind, path, tmp_path / "out") is None


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "parquet"])
@FUZZ
@given(content=st.binary(max_size=300))
def test_any_bytes_are_rows_or_a_refusal(tmp_path, suffix, content):
    path = tmp_path / f"any.{suffix}"
    path.write_bytes(content)
    said = refusal("pairs", path, tmp_path / "out")
    assert said is not None
    assert "any." in said
    assert "\n" not in said


@FUZZ
@given(place=st.integers(0, 3000), value=st.integers(0, 255))
def test_a_parquet_file_with_a_wrong_byte_is_rows_or_a_refusal(tmp_path, place, value):
    import pyarrow as pa
    import pyarrow.parquet as parquet

    path = tmp_path / "flipped.parquet"
    parquet.write_table(pa.Table.from_pylist([GOOD["pairs"] | {"id": number} for number in range(3)]), path)
    content = bytearray(path.read_bytes())
    content[place % len(content)] = value
    path.write_bytes(content)
    said = refusal("pairs", path, tmp_path / "out")
    assert said is None or ("flipped.parquet" in said and "\n" not in said)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=()), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
turn = st.fixed_dictionaries(
    {"role": st.sampled_from(["system", "user", "assistant", "bot", 3]), "content": anything | st.text(max_size=8)}
)


@FUZZ
@given(prompt=anything | st.lists(turn, max_size=3), chosen=anything | st.lists(turn, max_size=3), id=anything)
def test_whatever_json_says_what_is_kept_is_a_conversation_with_an_answer(tmp_path, prompt, chosen, id):
    path, folder = tmp_path / "any.jsonl", tmp_path / "kept"
    path.write_text(json.dumps({"id": id, "prompt": prompt, "chosen": chosen, "rejected": "No."}) + "\n")
    folder.mkdir(exist_ok=True)
    stage, kind = source("pairs", str(path))
    said = ""
    try:
        stage(out=kind(folder))
    except ValueError as refused:
        said = str(refused)
    if said:
        assert f"{path}, row 1" in said
        assert "\n" not in said
        return
    (row,) = kind(folder).rows()
    assert row["prompt"][-1]["role"] == "user"
    assert row["prompt"][-1]["content"].strip()
    assert row["chosen"][0]["role"] == "assistant"
    assert row["chosen"][0]["content"].strip()


def test_ten_thousand_identical_rows_are_read_and_a_prompt_is_asked_once(tmp_path, artifact):
    from stages.generate.chunk import Chunk

    path = tmp_path / "same.jsonl"
    path.write_text('{"prompt": "Why?"}\n' * 10_000)
    prompts = artifact(Prompts)
    assert LocalPrompts(path=str(path))(out=prompts)["prompts"] == 10_000
    with pytest.raises(ValueError, match="the pool holds 1 that are not known"):
        Chunk(sizes=2, number=1)(prompts=prompts, known=artifact(Prompts, []), out=artifact(Prompts))
