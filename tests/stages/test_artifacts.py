"""Tables: parts in order, types that hold, and the same bytes for the same rows."""

from stages.artifacts import Model, Pairs, Prompts
from tests.stages.rows import pair, prompt


def test_rows_come_back_in_order_across_parts(artifact):
    table = artifact(Prompts)
    for index in range(12):
        table.write_part(index, [prompt(f"{index}-{i}", "text") for i in range(3)])
    assert [row["prompt_id"] for row in table.rows()] == [f"{index}-{i}" for index in range(12) for i in range(3)]
    assert len(table) == 36


def test_rows_come_back_in_order_where_the_parts_numbers_grow_longer(artifact):
    table = artifact(Prompts)
    for index in (100_000, 99_999, 1_000_000, 0):
        table.write_part(index, [prompt(f"{index}", "text")])
    assert [row["prompt_id"] for row in table.rows()] == ["0", "99999", "100000", "1000000"]


def test_rows_at_some_places_are_those_rows(artifact):
    table = artifact(Prompts)
    for index in range(3):
        table.write_part(index, [prompt(f"{index}-{i}", "text") for i in range(1500)])
    rows = list(table.rows())
    places = [0, 1023, 1024, 1499, 1500, 4499]
    assert list(table.rows_at(places)) == [rows[place] for place in places]
    assert list(table.rows_at([])) == []
    assert list(table.rows_at([7], ["prompt_id"])) == [{"prompt_id": "0-7"}]


def test_what_a_row_does_not_say_is_null(artifact):
    (row,) = artifact(Pairs, [pair("p")]).rows()
    assert row["chosen_logp"] is None
    assert row["chosen_tokens"] is None
    assert row["scored_policy"] is None


def test_the_same_rows_are_the_same_bytes(artifact):
    first, second = artifact(Pairs, [pair("p")]), artifact(Pairs, [pair("p")])
    assert (first.path / "part-00000.parquet").read_bytes() == (second.path / "part-00000.parquet").read_bytes()


def test_an_empty_table_is_a_table(artifact):
    table = artifact(Pairs, [])
    assert list(table.rows()) == []
    assert len(table) == 0


def test_trl_recognises_the_pairs_as_conversational(artifact):
    from datasets import Dataset
    from trl import is_conversational

    rows = artifact(Pairs, [pair("p")]).rows(["prompt", "chosen", "rejected"])
    assert is_conversational(Dataset.from_list(list(rows))[0])


def test_a_model_knows_what_it_was_trained_against(artifact):
    model = artifact(Model)
    assert model.trained_against is None
    model.record_lineage(trained_from="a", trained_against="b")
    assert model.trained_against == "b"
