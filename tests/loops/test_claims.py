"""Two loops on one store: real processes, one of which is killed, stopped, or on another machine."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from loops import claims
from loops.claims import FREE, SIGN, claim
from tests.loops.beside import being_made, wait_for

ROOT = Path(__file__).parents[2]
LOOP = f"""
import os, sys
os.environ["SELFLOOP_TRUST"] = "tests"
sys.path.insert(0, {str(ROOT)!r})
from pathlib import Path
from loops import claims
from loops.executors import Inline
from loops.plan import unroll
from loops.recipe import load
from loops.runner import Runner
from loops.store import Store
from tests.loops.recipes import TOYS, toy

claims.BEAT, claims.PATIENCE = 0.1, 1.5
name, seconds = sys.argv[1], float(sys.argv[2])
slow = {{"stage": {{"_target_": TOYS + ".Slow", "seconds": seconds, "until": "enough", "trace": "trace"}}}}
Runner(Store(Path("store")), Inline(), [], Path("runs") / name).run(unroll(load(toy(setup={{"slow": slow}}))))
print("done", flush=True)
"""


@pytest.fixture
def loop(tmp_path):
    """Begins a loop whose first step takes so many seconds, or until there is a file ``enough``; what still runs at the
    end of the test is killed."""
    begun = []

    def begin(name, seconds):
        (tmp_path / "loop.py").write_text(LOOP)
        command = [sys.executable, "loop.py", name, str(seconds)]
        begun.append(subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        return begun[-1]

    yield begin
    for process in begun:
        process.kill()
        process.communicate()


def made(place):
    return (place / "trace").read_text().count("made") if (place / "trace").exists() else 0


def test_of_two_loops_one_makes_a_step_and_the_other_waits_and_takes_the_result(loop, tmp_path):
    first = loop("first", 600)
    wait_for(lambda: being_made(tmp_path), first)
    second = loop("second", 600)
    assert f"waiting: process {first.pid} is at it already" in second.stdout.readline()
    (tmp_path / "enough").touch()
    told = [process.communicate(timeout=60) for process in (first, second)]
    assert [out.splitlines()[-1] for out, _ in told] == ["done"] * 2, told
    assert made(tmp_path) == 1
    assert (tmp_path / "runs/second/setup/slow/number.json").exists()
    assert list((tmp_path / "store/drafts").iterdir()) == []


def test_a_maker_that_was_killed_is_overtaken_at_once(loop, tmp_path):
    first = loop("first", 600)
    wait_for(lambda: being_made(tmp_path))
    first.send_signal(signal.SIGKILL)
    first.communicate()
    out, told = loop("second", 0).communicate(timeout=60)
    assert out.splitlines() == ["done"], told
    assert made(tmp_path) == 1


def test_while_another_waits_for_it_a_maker_that_is_killed_is_overtaken(loop, tmp_path):
    first = loop("first", 600)
    wait_for(lambda: being_made(tmp_path))
    second = loop("second", 0)
    assert "waiting" in second.stdout.readline()
    first.send_signal(signal.SIGKILL)
    first.communicate()
    out, told = second.communicate(timeout=60)
    assert out.splitlines() == ["done"], told


def test_a_maker_that_gives_no_sign_of_life_is_overtaken_and_when_it_wakes_it_does_no_harm(loop, tmp_path):
    first = loop("first", 600)
    wait_for(lambda: being_made(tmp_path), first)
    first.send_signal(signal.SIGSTOP)
    out, told = loop("second", 0).communicate(timeout=60)
    assert out.splitlines()[-1] == "done", told
    artifact = next(tmp_path.glob("store/artifacts/*/*/manifest.json"))
    before = artifact.stat()
    (tmp_path / "enough").touch()
    first.send_signal(signal.SIGCONT)
    first.communicate(timeout=60)
    assert made(tmp_path) == 1, "the first one never got to its end"
    assert artifact.stat().st_mtime_ns == before.st_mtime_ns
    assert list((tmp_path / "store/drafts").iterdir()) == []


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(claims, "PATIENCE", 0.6)
    monkeypatch.setattr(claims, "POLL", 0.05)


def elsewhere(place):
    """The draft of a maker on another machine, of which nothing can be seen."""
    draft = place / "00000000.17.4711.abcd"
    draft.mkdir(parents=True)
    (draft / SIGN).touch()
    return draft


def test_a_maker_on_another_machine_is_waited_for_until_it_gives_no_more_signs(tmp_path, quick):
    elsewhere(tmp_path / "key")
    begun = time.monotonic()
    with claim(tmp_path / "key", done=lambda: False):
        assert time.monotonic() - begun > 0.6


def test_whatever_the_clock_says_a_sign_of_life_is_one(tmp_path, quick):
    """The other machine's clock goes backwards by a year at every sign; it finishes after four times the patience."""
    draft = elsewhere(tmp_path / "key")
    begun, signs = time.monotonic(), iter(range(1000))

    def done():
        os.utime(draft / SIGN, (0, 1e9 - next(signs) * 3e7))
        return time.monotonic() - begun > 2.4

    with claim(tmp_path / "key", done=done) as held:
        assert held is None


def test_of_many_that_wait_for_the_dead_one_takes_over(tmp_path, quick):
    elsewhere(tmp_path / "key")
    finished, at_once = [], []

    def work(_):
        with claim(tmp_path / "key", done=lambda: bool(finished)) as draft:
            if draft is not None:
                at_once.append(draft)
                time.sleep(0.3)
                finished.append(draft)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert len(finished) == len(at_once) == 1


def test_an_attempt_that_fails_leaves_its_draft_free(tmp_path):
    with claim(tmp_path / "key", done=lambda: False) as draft:
        (draft / "part").touch()
    assert (tmp_path / "key" / FREE / "part").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["key"]


def test_what_is_no_draft_is_named_and_neither_taken_nor_waited_for(tmp_path):
    (tmp_path / "key").mkdir()
    (tmp_path / "key" / "part-00000.parquet").touch()
    with (
        pytest.raises(FileExistsError, match=r"part-00000\.parquet is no draft"),
        claim(tmp_path / "key", lambda: False),
    ):
        pass
