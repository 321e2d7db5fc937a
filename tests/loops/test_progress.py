"""How far a running step is: told in its draft, printed as lines, shown by status, and never part of what it makes."""

import json
import re
import subprocess
import sys
import time

import pytest

from loops.executors import Inline
from loops.lines import Lines
from loops.plan import unroll
from loops.progress import Bar, telling, told
from loops.recipe import load
from loops.runner import Runner
from loops.status import Standing, time_left
from loops.store import Store
from stages.parts import write_parts
from stages.progress import count_tokens, progress
from tests.loops.recipes import TOYS, toy
from tests.loops.test_cli import selfloop


@pytest.fixture
def place(tmp_path):
    """Where a step is made that is asked to tell how far it is."""
    draft = tmp_path / "drafts/maker"
    draft.mkdir(parents=True)
    with telling(draft):
        yield tmp_path / "drafts"


def seen(place):
    """The bars that are open now; one that is opened tells of the others at once."""
    with progress("looking", 1, "looks"):
        return told(place)[:-1]


def bar(**changes):
    own = {"what": "w", "unit": "rows", "done": 0, "total": 10, "skipped": 0, "tokens": 0, "seconds": 4.0}
    return Bar(**{**own, **changes})


def rows(**fields):
    stage = {"_target_": f"{TOYS}.Rows", **fields}
    return toy(setup={"start": None, "count": {"stage": stage}}, carry={"total": {"init": "count"}})


def test_bars_are_told_the_outermost_first_with_the_tokens_of_the_innermost(place):
    with progress("judging", 8, "rows") as judging, progress("decoding", 20, "answers") as decoding:
        judging.update(2)
        decoding.update(5)
        count_tokens(100)
        found = seen(place)
    assert [(one.what, one.amount, one.tokens) for one in found] == [
        ("judging", "2/8 rows", 0),
        ("decoding", "5/20 answers", 100),
    ]
    assert told(place) == []


def test_what_fails_leaves_no_bar_behind(place):
    with pytest.raises(ZeroDivisionError), progress("dividing", 1, "rows"):
        raise ZeroDivisionError
    assert seen(place) == []


def test_nothing_is_told_where_nobody_asks(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with progress("counting", 2, "rows") as counting:
        counting.update()
    assert list(tmp_path.iterdir()) == []


def test_what_an_earlier_attempt_made_says_nothing_of_how_fast_this_one_is():
    assert bar(done=6, skipped=4).left == 4 / 2 * 4
    assert bar(done=6, skipped=4, tokens=80).rates == "0.5 rows/s, 20 tokens/s"
    assert bar(done=4, skipped=4).left is None
    assert bar(done=4, skipped=4).times == "00:04 so far"


def test_parts_that_are_there_are_skipped_and_not_counted_as_made(place, artifact):
    from stages.artifacts import Prompts

    out, looks = artifact(Prompts), []

    def make(items):
        looks.extend(seen(place))
        return [[{"prompt_id": str(item), "prompt": []}] for item in items]

    out.write_part(0, [])
    write_parts(out, range(6), make, size=2, what="making", total=6)
    assert [(look.done, look.skipped) for look in looks] == [(2, 2), (4, 2)]


def test_a_file_that_is_no_progress_is_none(place):
    for text in ("", "{", "[1]", '[{"what": "w"}]'):
        (place / "maker/scratch/progress.json").write_text(text)
        assert told(place) == []


def test_an_engine_tells_every_token_that_it_draws_and_scoring_every_one_that_it_passes(place, tiny_model):
    from stages.engines.engine import Request, Sampling
    from stages.engines.hf import HF
    from stages.engines.logprobs import score_sequences
    from stages.engines.models import load_model

    asked = [Request(prompt=[5, 6, 7], seeds=[1, 2, 3]), Request(prompt=[8, 9], seeds=[4])]
    drawn = []
    for answer in HF(rows=2).generate(tiny_model, asked, Sampling(temperature=1.0, top_p=1.0, max_new_tokens=9)):
        drawn += answer.ids
        [decoding] = seen(place)
    assert decoding.amount == "4/4 answers"
    assert decoding.tokens == len(drawn)
    with progress("scoring", 2, "answers"):
        assert len(list(score_sequences(load_model(tiny_model), [([3, 4], [5]), ([3, 4], [6, 7])], 100))) == 2
        assert seen(place)[0].tokens == 2 + 1 + 2


@pytest.mark.parametrize("kind", ["dpo", "sft"])
def test_a_training_tells_its_steps_and_the_tokens_that_it_passes(kind, place, tiny_model, artifact, monkeypatch):
    from stages.artifacts import Model, Pairs
    from stages.train import curve
    from stages.train.dpo import DPO
    from stages.train.objectives import Sigmoid
    from stages.train.sft import SFT
    from tests.stages.test_dpo import PAIRS
    from tests.stages.test_trainings import COMMON, demonstrations

    looks, check = [], curve.check

    def looking(*arguments):
        looks.append(seen(place)[0])
        check(*arguments)

    monkeypatch.setattr(curve, "check", looking)
    if kind == "dpo":
        inputs = {"pairs": artifact(Pairs, PAIRS), "policy": tiny_model, "reference": tiny_model}
        DPO(loss=Sigmoid(beta=0.1), **COMMON)(**inputs, out=artifact(Model))
    else:
        SFT(**COMMON)(demonstrations=demonstrations(artifact), policy=tiny_model, out=artifact(Model))
    assert [look.amount for look in looks] == [f"{done}/5 steps" for done in range(5)]
    assert looks[0].tokens > 0
    assert [look.tokens for look in looks] == sorted({look.tokens for look in looks})


def test_what_is_told_is_no_part_of_the_artifact(tmp_path):
    plan, store = unroll(load(rows(total=3))), Store(tmp_path / "store")
    Runner(store, Inline(), [], tmp_path / "run").run(plan)
    key = next(step.key for step in plan.steps if step.node == "count")
    assert set(store.read(key).files) == {"number.json"}
    assert sorted(file.name for file in store.path(key).iterdir()) == ["manifest.json", "number.json"]


def test_lines_tell_of_bars_that_move(tmp_path, capsys):
    plan, store = unroll(load(rows(total=20, pause=0.05))), Store(tmp_path / "store")
    Runner(store, Inline(), [Lines(store=store, every=0.1)], tmp_path / "run").run(plan)
    lines = capsys.readouterr().out.splitlines()
    assert lines
    for line in lines:
        assert re.fullmatch(r"  counting: \d+/20 rows, 00:0\d so far, 00:0\d to go", line), line
    assert len(set(lines)) == len(lines)


def test_a_step_that_is_run_by_hand_tells_too(tmp_path):
    plan, store = unroll(load(rows(total=4))), Store(tmp_path / "store")
    runner = Runner(store, Inline(), [], tmp_path / "run")
    order = runner._order(next(step for step in plan.steps if step.node == "count"))
    done = subprocess.run([sys.executable, "-m", "loops.worker", str(order)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert store.keys() == [json.loads(order.read_text())["key"]]


def test_a_running_step_takes_at_least_as_long_as_its_bar_says():
    step = unroll(load(toy())).steps[-1]

    def running(*bars, seconds=0.0):
        return Standing(step=step, state="running", seconds=seconds, bars=bars)

    assert time_left([running()]) == (0.0, ["add"])
    assert time_left([running(bar(), bar(done=1))]) == (36.0, [])
    before = Standing(step=unroll(load(toy())).steps[-2], state="finished", seconds=50.0)
    assert time_left([before, running(bar(done=5), seconds=10)]) == (40.0, [])
    assert time_left([before, running(bar(done=5), seconds=49)]) == (4.0, [])
    assert time_left([before, Standing(step=step, state="queued", seconds=49)]) == (50.0, [])


def test_a_log_is_told_of_a_failure_while_others_run_and_not_of_the_last_one(tmp_path, capsys):
    first, second, *_ = unroll(load(toy())).steps
    lines = Lines(store=Store(tmp_path), named=True)
    lines.started(first)
    lines.started(second)
    lines.failed(second)
    assert capsys.readouterr().out == f"{second.id} failed; what runs is finished first\n"
    lines.failed(first)
    assert (capsys.readouterr().out, lines.watched) == ("", {})


def test_status_tells_how_far_a_running_step_is(tmp_path):
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes/one.yaml").write_text(
        "# @package _global_\n# One.\nname: one\nrounds: 0\ncarry: {}\nround: {}\n"
        "setup:\n  one: {stage: {_target_: tests.loops.toys.Constant, value: 1}}\n"
    )
    said = selfloop("recipes=one", "tracker=silent", "executor=inline", cwd=tmp_path)
    assert said.returncode == 0, said.stderr
    [key] = Store(tmp_path / "store").keys()
    Store(tmp_path / "store").condemn(key)
    with (
        Store(tmp_path / "store").claim(key) as draft,
        telling(draft),
        progress("counting", 20, "rows") as counting,
    ):
        counting.update(5)
        time.sleep(0.02)
        seen(tmp_path)
        said = selfloop("status", cwd=tmp_path)
    assert "running      setup/one, for " in said.stdout
    assert re.search(r"^ {15}counting: 5/20 rows, [\d,]+ rows/s, 00:00 so far, 00:00 to go$", said.stdout, re.MULTILINE)
