"""Identity: what is in a key, what is not, and what is refused."""

from dataclasses import dataclass, field

import pytest

from loops.fingerprint import canonical, fingerprint
from tests.loops.toys import Add, Constant


@dataclass(frozen=True, kw_only=True)
class Later:
    value: float
    twist: int | None = field(default=None, metadata={"added": True})


def test_where_a_step_runs_never_changes_its_key():
    assert fingerprint(Constant(value=1.0, place="here")) == fingerprint(Constant(value=1.0, place="there"))


def test_every_other_field_changes_it():
    assert fingerprint(Add(by=1.0)) != fingerprint(Add(by=2.0))


def test_another_version_is_another_step(monkeypatch):
    before = fingerprint(Add())
    monkeypatch.setattr(Add, "VERSION", 2)
    assert fingerprint(Add()) != before


def test_a_field_that_was_added_later_changes_a_key_only_where_it_says_something():
    known = canonical(Constant(value=1.0))
    assert canonical(Later(value=1.0))["fields"] == known["fields"]
    assert canonical(Later(value=1.0, twist=2))["fields"] == {"value": 1.0, "twist": 2}


def test_the_order_in_which_names_were_written_does_not_matter():
    assert fingerprint({"a": 1, "b": [2, 3]}) == fingerprint({"b": (2, 3), "a": 1})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1, 2}, len, object(), {1: "a"}, Constant, b"x"])
def test_what_has_no_stable_identity_is_refused(value):
    with pytest.raises(TypeError, match="no stable identity"):
        canonical(value)
