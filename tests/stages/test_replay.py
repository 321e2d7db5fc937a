"""Replay: DICE's arithmetic, disjoint prompts, and the same mix for the same seed."""

import pytest

from stages.artifacts import Pairs
from stages.pairs.replay import Replay, shares
from tests.stages.rows import pair


@pytest.mark.parametrize(
    ("offline", "mined", "replayed"), [(0.5, 5000, 5000), (0.25, 7500, 2500), (0.75, 2500, 7500), (0, 9500, 0)]
)
def test_the_shares_are_the_specified_ones(offline, mined, replayed):
    assert shares(10_000, 9_500, offline) == (mined, replayed)


def test_a_share_that_floats_cannot_hold_is_exact():
    assert shares(100, 90, 0.1) == (90, 10)


def mix(artifact, mined, pool, **fields):
    out = artifact(Pairs)
    metrics = Replay(**{"offline": 0.5, "seed": 1} | fields)(
        mined=artifact(Pairs, mined), pool=artifact(Pairs, pool), out=out
    )
    return list(out.rows()), metrics


MINED = [pair(f"m{i}", f"mined question {i}", source="mined") for i in range(10)]
POOL = [pair(f"o{i}", f"offline question {i}") for i in range(30)]


def test_half_is_mined_and_half_is_offline(artifact):
    rows, metrics = mix(artifact, MINED, POOL)
    assert [row["source"] for row in rows] == ["mined"] * 10 + ["offline"] * 10
    assert metrics == {"pairs": 20, "mined": 10, "offline": 10, "offline_wanted": 10}


def test_no_prompt_occurs_twice_even_under_another_id_or_other_white_space(artifact):
    pool = [pair("x", "mined  question 0 "), *POOL[:10]]
    rows, _ = mix(artifact, MINED, pool, offline=0.5)
    prompts = [" ".join(row["prompt"][0]["content"].split()) for row in rows]
    assert len(prompts) == len(set(prompts))


def test_the_same_seed_gives_the_same_mix_and_another_gives_another(artifact):
    first, _ = mix(artifact, MINED, POOL)
    again, _ = mix(artifact, MINED, POOL)
    other, _ = mix(artifact, MINED, POOL, seed=2)
    assert first == again
    assert first != other


def test_a_pool_that_is_too_small_gives_what_it_has_and_says_so(artifact):
    pool = [pair(f"x{i}", "the same question") for i in range(10)]
    rows, metrics = mix(artifact, MINED, pool)
    assert metrics == {"pairs": 6, "mined": 5, "offline": 1, "offline_wanted": 5}
    assert len(rows) == 6


@pytest.mark.parametrize("offline", [-0.1, 1, 1.5])
def test_a_share_outside_zero_to_one_is_refused(offline):
    with pytest.raises(ValueError, match=r"in .0, 1."):
        Replay(offline=offline, seed=0)
