"""The store: whole or absent, one maker at a time, and what was damaged is seen."""

import json
import os
import shutil
from contextlib import suppress

import pytest

from loops.errors import StepFailed
from loops.manifest import Manifest, inventory
from loops.store import Store

KEY = "abcd"


def made(store, text="hello"):
    """Make the artifact, unless it is there."""
    with store.claim(KEY) as draft:
        if draft is not None:
            (draft / "file").write_text(text)
            store.commit(draft, manifest(inventory(draft)))
    return store.path(KEY)


def manifest(files, metrics=None):
    return Manifest(
        key=KEY, stage={}, inputs={}, metrics=metrics or {"loss": 0.5}, seconds=1.0, provenance={}, files=files
    )


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path)


def test_what_was_committed_is_read_back_with_sizes_and_hashes(store):
    made(store)
    found = store.read(KEY)
    assert found is not None
    assert found.metrics == {"loss": 0.5}
    assert found.files == {"file": {"size": 5, "sha256": found.files["file"]["sha256"]}}
    assert found.files["file"]["sha256"].startswith("2cf24dba5fb0a30e")
    assert list((store.root / "drafts").iterdir()) == []


def test_a_draft_is_never_an_artifact(store):
    with store.claim(KEY) as draft:
        (draft / "file").write_text("half")
        assert store.read(KEY) is None
    assert store.read(KEY) is None


@pytest.mark.parametrize(("resumes", "kept"), [("this code", True), ("other code", False), (None, False)])
def test_what_a_failed_attempt_left_is_there_for_the_same_code_and_for_no_other(store, resumes, kept):
    with store.claim(KEY, "this code") as draft:
        (draft / "folder").mkdir()
        (draft / "folder" / "part").write_text("half")
    with store.claim(KEY, resumes) as draft:
        assert (draft / "folder" / "part").exists() == kept


def test_a_step_that_is_done_is_not_held(store):
    made(store)
    with store.claim(KEY) as draft:
        assert draft is None


def test_the_first_commit_wins(store):
    with store.claim(KEY) as draft:
        (draft / "file").write_text("second")
        shutil.copytree(made(Store(store.root / "other")), store.path(KEY))
        store.commit(draft, manifest(inventory(draft)))
    assert (store.path(KEY) / "file").read_text() == "hello"
    assert list((store.root / "drafts").iterdir()) == []


def test_whoever_was_overtaken_can_commit_nothing_even_if_its_directory_came_to_be_again(store):
    with store.claim(KEY) as draft:
        (draft / "file").write_text("mine")
        draft.rename(draft.with_name("another"))
        (draft / "scratch").mkdir(parents=True)
        (draft / "file").write_text("mine again")
        with pytest.raises(StepFailed, match="seemed dead"):
            store.commit(draft, manifest(inventory(draft)))
    assert store.read(KEY) is None


def test_what_a_stage_resumes_from_stays_until_the_commit_and_is_no_part_of_the_artifact(store, monkeypatch):
    import loops.store

    def killed(*_):
        raise KeyboardInterrupt

    with suppress(KeyboardInterrupt), store.claim(KEY, "code") as draft:
        (draft / "scratch").mkdir()
        (draft / "scratch" / "checkpoint").write_text("here")
        (draft / "file").write_text("hello")
        with monkeypatch.context() as broken:
            broken.setattr(loops.store, "_sync_tree", killed)
            store.commit(draft, manifest(inventory(draft)))
    with store.claim(KEY, "code") as draft:
        assert (draft / "scratch" / "checkpoint").read_text() == "here"
        store.commit(draft, manifest(inventory(draft)))
    assert sorted(path.name for path in store.path(KEY).iterdir()) == ["file", "manifest.json"]
    assert list((store.root / "drafts").iterdir()) == []


def test_a_metric_that_is_no_number_cannot_be_committed(store):
    with store.claim(KEY) as draft, pytest.raises(ValueError, match="JSON"):
        store.commit(draft, manifest({}, metrics={"loss": float("nan")}))
    assert store.read(KEY) is None


def test_a_manifest_is_plain_json(store):
    assert json.loads((made(store) / "manifest.json").read_text())["key"] == KEY


def truncated(artifact):
    (artifact / "file").write_text("hel")


def edited(artifact):
    (artifact / "file").write_text("hallo")


def missing(artifact):
    (artifact / "file").unlink()


def a_link(artifact):
    (artifact / "file").unlink()
    (artifact / "file").symlink_to("/etc/hostname")


def leading_out(artifact):
    path = artifact / "manifest.json"
    path.write_text(path.read_text().replace('"file"', '"../../../file"'))


def unreadable(artifact):
    (artifact / "manifest.json").write_text("{")


def foreign(artifact):
    path = artifact / "manifest.json"
    path.write_text(path.read_text().replace(KEY, "ef01"))


DAMAGES = {
    truncated: "file has 3 bytes, not 5",
    edited: "file has other contents",
    missing: "file is missing",
    a_link: "file is no file",
    leading_out: "../../../file leads out of the artifact",
    unreadable: "manifest.json cannot be read",
    foreign: "manifest.json is that of ef01",
}


@pytest.mark.parametrize("harm", DAMAGES, ids=lambda harm: harm.__name__)
def test_what_is_damaged_is_named_is_absent_and_is_made_again(store, harm):
    harm(made(store))
    assert store.damage(KEY) == [DAMAGES[harm]]
    assert store.read(KEY) is None
    made(store)
    assert store.damage(KEY) == []
    assert store.read(KEY) is not None


def rot(artifact):
    """Bits that changed by themselves: nothing but the contents shows it."""
    before = (artifact / "file").stat()
    (artifact / "file").write_text("hallo")
    os.utime(artifact / "file", ns=(before.st_atime_ns, before.st_mtime_ns))


def test_only_a_deep_look_sees_bits_that_changed_by_themselves(store):
    rot(made(store))
    assert store.damage(KEY) == []
    assert store.damage(KEY, deep=True) == ["file has other contents"]


def test_a_store_that_was_copied_is_sound_and_is_read_but_once(store):
    artifact = made(store)
    os.utime(artifact / "file")
    assert store.read(KEY) is not None
    rot(artifact)
    assert store.read(KEY) is not None, "the contents were not read again"
