"""Recipes and words on the command line, broken or hostile: refused in one line with exit code 1; nothing is run."""

import os
import signal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loops.__main__ import main
from loops.errors import RecipeError
from loops.recipe_file import read

HEAD = "name: mine\nrounds: 1\ncarry: {}\nsetup: {}\n"
STAGE = "{_target_: stages.generate.chunk.Chunk, sizes: 1, number: 1}"


def bomb(leaf, times=9):
    """A billion laughs: each line names the one before it nine times."""
    return "\n".join([f"a0: &a0 {leaf}", *(f"a{i + 1}: &a{i + 1} [{', '.join([f'*a{i}'] * 9)}]" for i in range(times))])


def unfolding(depth=40):
    """The same by interpolation: each name is the one before it twice."""
    return (
        "\n".join(f"b{i}: {{x: '${{b{i - 1}}}', y: '${{b{i - 1}}}'}}" for i in range(1, depth)) + "\nb0: {x: 1, y: 1}"
    )


BROKEN = {
    "unclosed": "name: [unclosed\n",
    "tabs": "name:\tmine\n\t- x: y\n",
    "bytes": b"\xff\xfe\x00n",
    "latin": "name: café\n".encode("latin-1"),
    "nothing": "",
    "a word": "hello",
    "a number": "3",
    "a list": "[1, 2, 3]",
    "null": "null",
    "two documents": "name: a\n---\nname: b\n",
    "a name twice": "name: a\nname: b\n",
    "a python object": "name: !!python/object/apply:os.system [touch ran]\n",
    "a python name": "name: !!python/name:os.system\n",
    "another tag": "name: !secret x\n",
    "laughs": bomb('"lol"'),
    "an alias to itself": "a: &a [*a]\n",
    "deep lists": "a: " + "[" * 5000 + "]" * 5000,
    "deep names": "".join(" " * i + "a:\n" for i in range(100)),
    "long": "a: " + "x" * 2_000_000,
    "unfolding": HEAD + unfolding() + "\nround: {one: {stage: {_target_: stages.x.Y, z: '${b39}'}}}\n",
    "texts that multiply": HEAD + "a: '${b}${b}'\nround: {}\n",
    "a circle of names": HEAD + "a: ${b}\nb: ${a}\nround: {one: {stage: {_target_: stages.x.Y, z: '${a}'}}}\n",
    "a circle of defaults": "defaults: [mine]\n" + HEAD,
    "an unclosed interpolation": HEAD + "a: '${b'\nround: {}\n",
    "a number of 5000 digits": "rounds: " + "9" * 5000,
    "numbers as names": "1: 2\nnull: 3\n",
    "a list as a name": "? [a, b]\n: c\n",
    "no name": "rounds: 1\nround: {}\n",
    "a number as name": "name: 3\nrounds: 1\nround: {}\n",
    "rounds in words": "name: mine\nrounds: two\nround: {}\n",
    "a million rounds": "name: mine\nrounds: 1000000\nround: {}\n",
    "rounds below none": "name: mine\nrounds: -1\nround: {}\n",
    "a round that is a list": "name: mine\nrounds: 1\nround: [1]\n",
    "a node that is a text": "name: mine\nrounds: 1\nround: {one: two}\n",
    "a node with more": f"name: mine\nrounds: 1\nround: {{one: {{stage: {STAGE}, run: x}}}}\n",
    "inputs that are a list": f"name: mine\nrounds: 1\nround: {{one: {{stage: {STAGE}, inputs: [a]}}}}\n",
    "a stage without a class": "name: mine\nrounds: 1\nround: {one: {stage: {a: 1}}}\n",
    "a class that is a number": "name: mine\nrounds: 1\nround: {one: {stage: {_target_: 3}}}\n",
    "a class that is a function": "name: mine\nrounds: 1\nround: {one: {stage: {_target_: stages.seeds.derive}}}\n",
    "a class that is no stage": "name: mine\nrounds: 1\nround: {one: {stage: {_target_: stages.engines.hf.HF}}}\n",
    "a module as class": "name: mine\nrounds: 1\nround: {one: {stage: {_target_: stages.seeds}}}\n",
    "dots": "name: mine\nrounds: 1\nround: {one: {stage: {_target_: stages....}}}\n",
    "a carry that is a text": "name: mine\nrounds: 1\ncarry: {a: b}\nround: {}\n",
    "a name that nothing reads": HEAD + "round: {}\nroundz: 3\n",
    "defaults of another kind": "defaults: {a: b}\n" + HEAD,
    "defaults that choose a model": "defaults: [{override /model: local}]\n" + HEAD,
    "defaults that are elsewhere": "defaults: [../../etc/passwd]\n" + HEAD,
    "an unknown base": "defaults: [dixe]\n" + HEAD,
    "null where a mapping is": "name: mine\nrounds: 1\nround: null\ncarry: 3\n",
    "a field of the wrong type": "defaults: [dice]\nname: mine\nround: {mine: {stage: {n: [x]}}}\n",
    "a table that is no format": "defaults: [dice]\nname: mine\ntable: {x: '{mine/pairs:{0.__class__}}'}\n",
    "a table that fills the memory": "defaults: [dice]\nname: mine\ntable: {x: '{mine/pairs:999999999999d}'}\n",
}


def planned(arguments, capsys):
    """Exit code and what was said on stderr."""
    before = signal.getsignal(signal.SIGTERM)
    code = main(["plan", *arguments])
    signal.signal(signal.SIGTERM, before)
    told = capsys.readouterr()
    assert "Traceback" not in told.err
    return code, told.err


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_recipe_is_refused_in_one_line(what, tmp_path, monkeypatch, capsys):
    (tmp_path / "recipes").mkdir()
    content = BROKEN[what]
    (tmp_path / "recipes/mine.yaml").write_bytes(content if isinstance(content, bytes) else content.encode())
    monkeypatch.chdir(tmp_path)
    code, told = planned(["recipes=mine"], capsys)
    assert code == 1, told
    assert told.startswith("RecipeError: ")
    assert told.count("\n") == 1
    assert len(told) < 1200
    assert os.listdir(tmp_path) == ["recipes"]


FUZZ = settings(
    derandomize=True, deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
yamlish = st.lists(
    st.sampled_from(
        ["a", "name", ":", " ", "\n", "-", "[", "]", "{", "}", "&a", "*a", "${", "}", "!!", "?", "|", "'", '"']
    )
    | st.text(max_size=3),
    max_size=25,
).map("".join)


@FUZZ
@given(yamlish | st.binary(max_size=80))
def test_any_text_is_a_recipes_mapping_or_a_refusal_that_names_the_file(tmp_path, text):
    file = tmp_path / "any.yaml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    said = "any.yaml"
    try:
        read(file)
    except RecipeError as refused:
        said = str(refused)
    assert "any.yaml" in said
    assert "\n" not in said


@pytest.mark.parametrize(
    "words",
    [
        ["recipes=../../etc/passwd"],
        ["recipes="],
        ["recipes=dice", "="],
        ["recipes=dice", "a=b=c"],
        ["recipes=dice", "rounds="],
        ["recipes=dice", "rounds=[1"],
        ["recipes=dice", "rounds=1e9"],
        ["recipes=dice", "rounds='2"],
        ["recipes=dice", "+x=${"],
        ["recipes=dice", "++=1"],
        ["recipes=dice", "~name"],
        ["recipes=dice", "~round"],
        ["recipes=dice", "\x00=1"],
        ["recipes=dice", "sizes=3"],
        ["recipes=dice", "name=../../up"],
        ["recipes=dice", "run=../../up"],
        ["recipes=dice", "run=/tmp/up"],
        ["recipes=dice", "run="],
        ["recipes=dice", "model="],
        ["recipes=dice", "model=../model/local"],
        ["recipes=dice", "executor.workers=many"],
        ["recipes=dice", "tracker._target_=os.system"],
        ["recipes=dice", "engine._target_=subprocess.Popen"],
        ["recipes=dice", "table=3"],
        ["recipes=dice,scir"],
    ],
)
def test_words_that_are_none_are_refused_in_one_line(words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    code, told = planned(words, capsys)
    assert code == 1, told
    assert told.count("\n") == 1
    assert os.listdir(tmp_path) == []
