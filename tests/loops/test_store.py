"""The store: whole or absent."""

import json

import pytest

from loops.store import Manifest, Store, inventory


def manifest(key, draft):
    return Manifest(
        key=key, stage={}, inputs={}, metrics={"loss": 0.5}, seconds=1.0, provenance={}, files=inventory(draft)
    )


def test_what_was_committed_is_read_back_with_sizes_and_hashes(tmp_path):
    store = Store(tmp_path)
    draft = store.draft("abcd", resume=False)
    (draft / "file").write_text("hello")
    store.commit(draft, manifest("abcd", draft))
    found = store.read("abcd")
    assert found is not None
    assert found.metrics == {"loss": 0.5}
    assert found.files["file"]["size"] == 5
    assert found.files["file"]["sha256"].startswith("2cf24dba5fb0a30e")
    assert not draft.exists()


def test_a_draft_is_never_an_artifact(tmp_path):
    store = Store(tmp_path)
    (store.draft("abcd", resume=False) / "file").write_text("half")
    assert store.read("abcd") is None


def test_an_interrupted_draft_is_emptied_unless_it_is_resumed(tmp_path):
    store = Store(tmp_path)
    (store.draft("abcd", resume=False) / "part").write_text("half")
    assert (store.draft("abcd", resume=True) / "part").exists()
    assert not (store.draft("abcd", resume=False) / "part").exists()


def test_the_first_commit_wins(tmp_path):
    store = Store(tmp_path)
    for text in ("first", "second"):
        draft = store.draft("abcd", resume=False)
        (draft / "file").write_text(text)
        store.commit(draft, manifest("abcd", draft))
    assert (store.path("abcd") / "file").read_text() == "first"
    assert not (tmp_path / "drafts" / "abcd").exists()


def test_a_metric_that_is_no_number_cannot_be_committed(tmp_path):
    store = Store(tmp_path)
    draft = store.draft("abcd", resume=False)
    bad = Manifest(key="abcd", stage={}, inputs={}, metrics={"loss": float("nan")}, seconds=0, provenance={}, files={})
    with pytest.raises(ValueError, match="JSON"):
        store.commit(draft, bad)
    assert store.read("abcd") is None


def test_a_manifest_is_plain_json(tmp_path):
    store = Store(tmp_path)
    draft = store.draft("abcd", resume=False)
    store.commit(draft, manifest("abcd", draft))
    assert json.loads((store.path("abcd") / "manifest.json").read_text())["key"] == "abcd"
