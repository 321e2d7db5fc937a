"""verify and gc, through the command line, on the store that a run of toys has filled."""

import os
import shutil
from pathlib import Path

import pytest

from loops.__main__ import main
from loops.store import Store
from tests.loops.recipes import toy
from tests.loops.test_runner import run


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Where the run ``runs/toy`` has filled ``store``."""
    monkeypatch.chdir(tmp_path)
    again()
    return tmp_path


def again(**more):
    """The run, and which steps it had to make."""
    listener = run(toy(**more), Path(), run_dir="runs/toy")
    return listener.made


def artifacts():
    return {path.name for path in Path("store/artifacts").glob("*/*")}


def test_a_sound_store_is_said_to_be(place, capsys):
    assert main(["verify"]) == 0
    assert "4 artifacts read: all are what was made" in capsys.readouterr().out


def test_verify_names_what_is_damaged_and_the_next_run_makes_it_again(place, capsys):
    file = Path("runs/toy/round-01/add/number.json")
    before, time = file.read_text(), file.stat()
    file.write_text("9" * len(before))
    os.utime(file, ns=(time.st_atime_ns, time.st_mtime_ns))
    assert again() == [], "nothing shows at a glance"
    capsys.readouterr()
    assert main(["verify"]) == 2
    told = capsys.readouterr().out
    assert "number.json has other contents" in told
    assert "the next run makes it again: toy/round-01/add" in told
    assert "1 damaged" in told
    assert again() == ["round-01/add"]
    assert file.read_text() == before
    assert main(["verify"]) == 0


def test_a_truncated_file_is_seen_without_verify(place):
    file = Path("runs/toy/round-01/add/number.json")
    before = file.read_text()
    file.write_text("")
    assert again() == ["round-01/add"]
    assert file.read_text() == before


def test_gc_keeps_what_a_run_needs(place, capsys):
    assert main(["gc", "--yes"]) == 0
    assert "nothing to remove" in capsys.readouterr().out
    assert again() == []


def test_gc_shows_what_no_run_needs_and_removes_it_only_if_told(place, capsys):
    old = artifacts()
    again(materials={"step": {"stage": {"value": 2.0}}})
    needless = old - {os.path.basename(os.readlink(link)) for link in Path("runs/toy").glob("*/*") if link.is_symlink()}
    assert len(needless) == 3
    capsys.readouterr()
    assert main(["gc"]) == 0
    told = capsys.readouterr().out
    assert all(key in told for key in needless)
    assert "in 3 places that no run in runs needs" in told
    assert "gc --yes" in told
    assert needless < artifacts()
    assert main(["gc", "--yes"]) == 0
    assert not needless & artifacts()
    assert again(materials={"step": {"stage": {"value": 2.0}}}) == []


def test_gc_keeps_the_draft_of_a_step_that_a_run_has_begun_and_no_other(place):
    key = next(Path("runs/toy/orders").glob("*.json")).stem.rpartition("-")[2]
    Store(Path("store")).condemn(key)
    for name in (key, "0123456789abcdef"):
        (Path("store/drafts") / name / "free").mkdir(parents=True)
    with Store(Path("store")).claim("fedcba9876543210") as held:
        assert main(["gc", "--yes"]) == 0
        assert held.exists(), "somebody makes it"
    assert (Path("store/drafts") / key).exists()
    assert not (Path("store/drafts/0123456789abcdef")).exists()


def test_without_the_folder_of_runs_nothing_is_removed_because_all_would_seem_needless(place, capsys):
    before = artifacts()
    assert main(["gc", "--yes", "runs=elsewhere"]) == 1
    assert "there is no elsewhere" in capsys.readouterr().err
    shutil.rmtree("runs/toy")
    assert main(["gc"]) == 0
    assert artifacts() == before
    assert main(["gc", "--yes"]) == 0
    assert artifacts() == set()


def test_gc_removes_whatever_lies_in_the_stores_folders(place):
    (Path("store/drafts") / "note.txt").write_text("hello")
    (Path("store/artifacts/no")).mkdir()
    (Path("store/artifacts/no") / "link").symlink_to(place)
    assert main(["gc", "--yes"]) == 0
    assert list(Path("store/drafts").iterdir()) == []
    assert place.exists()
    assert again() == []


@pytest.mark.parametrize(
    "words", [["verify", "store=none"], ["gc", "recipes=dice"], ["verify", "--yes"], ["gc", "all"]]
)
def test_what_they_do_not_know_is_refused(place, words, capsys):
    assert main(words) == 1
    assert "RecipeError" in capsys.readouterr().err
