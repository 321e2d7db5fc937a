"""Broken files, made by rule: each is one good file with one thing wrong, and says where it is wrong."""

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Broken:
    """A file of ``kind`` with these bytes; ``row`` is where it is wrong, None where a file has no rows to name."""

    kind: str
    suffix: str
    content: bytes
    row: int | None


GOOD = {
    "prompts": {"id": "a", "prompt": "Why is the sky blue?"},
    "pairs": {"id": "a", "prompt": "Why?", "chosen": "Because of the air.", "rejected": "No idea."},
    "demonstrations": {"id": "a", "prompt": "Why?", "completion": "Because."},
    "judgements": {"id": "a", "question": "Why?", "answer": "So.", "judgement": "It is short.", "score": 2},
}
HALF = "half a character \ud800"
NO_TEXT = [None, 3, 2.5, True, [], {}, [1], [None], [{}], ["text"], [[{"role": "user", "content": "x"}]], HALF]
NO_TURN = [
    [{"role": "user"}],
    [{"content": "x"}],
    [{"role": "bot", "content": "x"}],
    [{"role": None, "content": "x"}],
    [{"role": "user", "content": 3}],
    [{"role": "user", "content": None}],
    [{"role": "user", "content": HALF}],
    [{"role": "user", "content": "x"}, {"role": "narrator", "content": "y"}],
    {"role": "user", "content": "x"},
]
BLANK = ["", " ", "\n\t", "\u3000\u2003"]
NO_PROMPT = [*NO_TEXT, *NO_TURN, *BLANK, [{"role": "assistant", "content": "x"}], [{"role": "user", "content": " "}]]
NO_ANSWER = [*NO_TEXT, *NO_TURN, *BLANK, [{"role": "user", "content": "x"}], [{"role": "assistant", "content": " "}]]
NO_ID = [None, True, [], {}, "", " ", HALF, ["a"]]
NO_SCORE = [None, "2", "", 2.5, True, [], {}, 1e300, float("nan"), float("inf"), HALF]
WRONG = {
    "prompts": {"prompt": NO_PROMPT, "id": NO_ID},
    "pairs": {"prompt": NO_PROMPT, "chosen": NO_ANSWER, "rejected": NO_ANSWER, "id": NO_ID},
    "demonstrations": {"prompt": NO_PROMPT, "completion": NO_ANSWER, "id": NO_ID},
    "judgements": {
        "question": NO_TEXT,
        "answer": NO_TEXT,
        "judgement": NO_TEXT,
        "score": NO_SCORE,
        "id": NO_ID,
    },
}
LINES = [
    *(b"{", b"}", b"{]", b"no json", b"[1, 2]", b"3", b"null", b'"text"', b"NaN", b"{'prompt': 'x'}", b"\x00", b"{}"),
    *(b"\xff\xfe", b"\x80abc", b'{"prompt": "\xff"}', b'{"prompt": "\xc3"}', b'{"prompt": "\xed\xa0\x80"}'),
    *(b"[" * 100_000, b'{"a":' * 100_000, b'{"id": ' + b"9" * 5000 + b"}", b'"' + b"a" * 1_000_000, b"a" * 1_000_000),
    *('{"prompt": "x"}'.encode(codec) for codec in ("utf-16", "utf-32", "cp037")),
    *(b'{"prompt": "a", "prompt": "b"}', b'{"prompt": "a"} {"prompt": "b"}', b'{"prompt": "a"},', b'\x1f\x8b\x08{"'),
]


def broken() -> list[Broken]:
    """All of them, each once."""
    return list(dict.fromkeys([*_values(), *_lines(), *_cut(), *_repeated(), *_tables(), *_cut_parquet()]))


def _rows(kind: str, count: int) -> list[dict]:
    return [GOOD[kind] | {"id": f"row {place}"} | _score(kind, place) for place in range(count)]


def _score(kind: str, place: int) -> dict:
    return {"score": place} if kind == "judgements" else {}


def _jsonl(rows: list) -> bytes:
    return b"".join((row if isinstance(row, bytes) else json.dumps(row).encode()) + b"\n" for row in rows)


def _values() -> Iterator[Broken]:
    """Every wrong value in every column, first and last; and every column missing."""
    for kind, columns in WRONG.items():
        for column, values in columns.items():
            for place in (0, 3):
                for value in values:
                    rows = _rows(kind, 4)
                    rows[place][column] = value
                    yield Broken(kind, "jsonl", _jsonl(rows), place + 1)
                rows = _rows(kind, 4)
                del rows[place][column]
                yield Broken(kind, "jsonl", _jsonl(rows), place + 1)


def _lines() -> Iterator[Broken]:
    """Every line that is no row."""
    for kind in GOOD:
        for line in LINES:
            yield Broken(kind, "jsonl", _jsonl([*_rows(kind, 2), line]), 3)


def _cut() -> Iterator[Broken]:
    """A last line that was cut off at every character."""
    for kind, row in GOOD.items():
        line = json.dumps(row | {"id": "last"}).encode()
        for cut in range(1, len(line), 2):
            yield Broken(kind, "jsonl", _jsonl([*_rows(kind, 2), line[:cut]]), 3)


def _repeated() -> Iterator[Broken]:
    """An id twice, at several distances; and no row at all."""
    for kind in GOOD:
        for count in (2, 5, 900):
            rows = _rows(kind, count)
            rows[-1]["id"] = rows[0]["id"]
            yield Broken(kind, "jsonl", _jsonl(rows), count)
        for nothing in (b"", b"\n\n", b" \n\t\n", b"\xef\xbb\xbf"):
            yield Broken(kind, "jsonl", nothing, None)


def _tables() -> Iterator[Broken]:
    """csv with quotes, fields and bytes that do not fit."""
    head = b"id,prompt,chosen,rejected\n1,Why?,So.,No.\n"
    for wrong in (b"2,Why?,So.\n", b"2,Why?,So.,No.,more\n", b"2\n", b'2,"Why,So.,No.\n', b'2,"Why"?,So.,No.\n'):
        yield Broken("pairs", "csv", head + wrong, 2)
    for wrong in (b"2,,So.,No.\n", b"2,Why?, ,No.\n", b"1,Why?,So.,No.\n", b",Why?,So.,No.\n", b"2,\xff,So.,No.\n"):
        yield Broken("pairs", "csv", head + wrong, None if b"\xff" in wrong else 2)
    yield Broken("pairs", "csv", head + b"2," + b"a" * 200_000 + b",So.,No.\n", 2)
    for nothing in (b"", b"id,prompt,chosen,rejected\n", b"id,prompt,chosen,chosen\n1,a,b,c\n", b"\n\n"):
        yield Broken("pairs", "csv", nothing, None)
    yield Broken("pairs", "csv", b"id;prompt;chosen;rejected\n1;a;b;c\n", 1)


def _cut_parquet() -> Iterator[Broken]:
    """parquet that was cut off, that holds other types, or nothing."""
    import pyarrow as pa
    import pyarrow.parquet as parquet

    def written(rows: list[dict]) -> bytes:
        sink = io.BytesIO()
        parquet.write_table(pa.Table.from_pylist(rows), sink)
        return sink.getvalue()

    whole = written(_rows("pairs", 3))
    for cut in range(0, len(whole) - 1, 25):
        yield Broken("pairs", "parquet", whole[:cut], None)
    for column in ("prompt", "chosen", "rejected"):
        for values in (
            [1, 2, 3],
            [b"\xff", b"a", b"b"],
            [None, None, None],
            [[1], [2], [3]],
            [{"a": 1}] * 3,
            [2.5] * 3,
        ):
            rows = [row | {column: value} for row, value in zip(_rows("pairs", 3), values, strict=True)]
            yield Broken("pairs", "parquet", written(rows), 1)
