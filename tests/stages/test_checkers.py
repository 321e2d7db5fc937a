"""Checkers: what they accept, what they refuse, and that nothing a model writes can trip them."""

import time

import pytest

from stages.checkers import CHECKERS, checker

CASES = [
    (
        "number",
        "42",
        ["42", "It is 42.", "7 * 6 = 42", "$42", "42.0", "042", "40, 41, 42", "a=-1, b=42"],
        ["", "forty-two", "43", "42 or 43", "-42", "4 2", "x42", "1.42", "42,000"],
    ),
    (
        "number",
        "He sells 48/2 = <<48/2=24>>24 clips.\n#### 1,072",
        ["1072", "#### 1,072", "1,072.00"],
        ["107", "1", "72"],
    ),
    ("number", "-3.5", ["-3.5", "−3.50", "x = -3.5 m"], ["3.5", "0-3.5", "-3"]),
    ("text", "Paris", ["paris", " **Paris**.", "“PARIS”"], ["", "Paris, France", "The capital is Paris"]),
    ("text", "2005-04-15", ["2005-04-15", "2005-04-15."], ["2005-4-15", "20050415"]),
    ("lacks", "e", ["A dog runs.", "no"], ["The dog", "E", "", "   ", "..."]),
    ("words", "3", ["one two three", "One, two - three!", "a\nb\nc"], ["", "one two", "a b c d"]),
    ("lines", "2", ["a\nb", "a\n\n  \nb\n"], ["a", "a\nb\nc", ""]),
    ("items", "2", ["- a\n- b", "Here:\n1. a\n2) b", "* a\n• b"], ["- a", "-a\n-b", "a\nb", "- a\n- b\n- c"]),
    (
        "json",
        '{"name": "Ada", "age": 7}',
        ['{"age": 7, "name": "Ada"}', '```json\n{"name": "Ada", "age": 7}\n```'],
        [
            '{"name": "Ada"}',
            '{"name": "Ada", "age": 8}',
            '{"name": "Ada", "age": 7, "x": 1}',
            'Here: {"name": "Ada", "age": 7}',
            "[]",
            "null",
            "",
            '```json\n{"name": "Ada", "age": 7}',
        ],
    ),
    (
        "json",
        '{"lamp": null}',
        ['{"lamp": "a"}', '{"lamp": [1, {}]}', '```\n{"lamp": null}\n```'],
        ["{}", '{"Lamp": 1}'],
    ),
    (
        "json",
        '{"a": 1, "b": [true]}',
        ['{"a": 1.0, "b": [true]}'],
        ['{"a": true, "b": [1]}', '{"a": 2, "a": 1, "b": [true]}'],
    ),
    ("shape", "9:99 PM", ["3:15 PM"], ["3:15 XQ", "3:15 pm"]),
    ("shape", "99:99", ["07:15", " 23:59\n"], ["7:15", "07:15.", "07h15", "aa:aa", ""]),
    ("shape", "Aa-9", ["Xy-0"], ["xy-0", "XY-0", "Xy-00"]),
    ("starts", "the moon", ["The moon rose.", "“The Moon”"], ["We saw the moon", "the", ""]),
    ("at_most", "3", ["one", "one, two - three!"], ["", "...", "a b c d"]),
    ("case", "upper", ["A DOG, 3 CATS!"], ["A dog", "123", ""]),
    ("case", "lower", ["a dog, 3 cats!"], ["A dog", "123", ""]),
]


@pytest.mark.parametrize(("name", "expected", "right", "wrong"), CASES)
def test_a_checker_tells_right_from_wrong(name, expected, right, wrong):
    holds = checker(name, expected)
    assert [answer for answer in right if not holds(answer)] == []
    assert [answer for answer in wrong if holds(answer)] == []


def test_every_checker_has_its_cases():
    assert {name for name, *_ in CASES} == set(CHECKERS)


HOSTILE = {
    "digits": "9" * 400_000,
    "thousands": "1,111" * 80_000,
    "minus signs": "-−" * 200_000,
    "white space": " \t\n" * 130_000,
    "brackets": "[" * 400_000,
    "objects": '{"a":' * 80_000,
    "fences": "```json\n" * 50_000,
    "a fence in a fence": "```json\n" + "\n```" * 100_000 + "x",
    "bullets": "- \n" * 130_000,
    "dots": "1." * 200_000,
    "a long number in JSON": '{"lamp": ' + "9" * 300_000 + "}",
    "control characters": "\x00\ufffe\u202e\U0001f600" * 100_000,
    "half a surrogate pair": "\ud800" * 100_000,
    "case that grows": "ŉß" * 200_000,
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_whatever_a_model_writes_is_checked_at_once_and_raises_nothing(text):
    begin = time.perf_counter()
    for name, expected in {name: expected for name, expected, *_ in CASES}.items():
        assert checker(name, expected)(text) in (True, False)
    assert time.perf_counter() - begin < 10


@pytest.mark.parametrize(
    ("name", "expected", "complaint"),
    [
        ("regex", "a+", "there is no checker 'regex'; there is number"),
        ("number", "none", "expected a number"),
        ("number", " ", "needs to be told"),
        ("words", "0", "expected a count"),
        ("lines", "two", "expected a count"),
        ("items", "-1", "expected a count"),
        ("json", "[1]", "expected a JSON object"),
        ("json", "{", "expected a JSON object"),
        ("case", "Upper", "expected upper or lower"),
        ("text", "...", "expected words"),
    ],
)
def test_a_task_that_makes_no_sense_is_refused(name, expected, complaint):
    with pytest.raises(ValueError, match=complaint):
        checker(name, expected)
