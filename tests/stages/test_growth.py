"""What is held in memory does not grow with the number of rows."""

import random

import pytest

from stages.artifacts import Pairs, Scores
from stages.pairs.extremes import Extremes
from stages.pairs.joined import Joined
from stages.pairs.margin import Margin
from stages.pairs.replay import Replay
from stages.pairs.tiers import Tiers
from stages.score.summary import summary
from tests.stages.rows import pair, scored

HELD = 40


class Held(dict):
    """A row that counts how many of its like are alive."""

    alive = most = 0

    def __init__(self, row):
        super().__init__(row)
        Held.alive += 1
        Held.most = max(Held.most, Held.alive)

    def __del__(self):
        Held.alive -= 1


@pytest.fixture(autouse=True)
def counted(monkeypatch):
    """Tables of small parts, whose rows are counted as they are read."""

    def counting(read):
        return lambda *asked: map(Held, read(*asked))

    monkeypatch.setattr("stages.table.PART_ROWS", 16)
    for name in ("rows", "rows_at"):
        monkeypatch.setattr(f"stages.table.Table.{name}", counting(getattr(Pairs, name)))
    Held.alive = Held.most = 0


def scores(prompts):
    draw = random.Random(0)
    for i in range(4 * prompts):
        yield scored(f"p{i // 4}", i % 4, f"answer {'word ' * draw.randint(1, 9)}{i}", draw.gauss(0, 1))


def pairs(name, count):
    return [pair(f"{name}{i}", f"question {name} {i}", margin=i / 7, label_source="self") for i in range(count)]


@pytest.mark.parametrize("miner", [Extremes(n=4, length_penalty="balance"), Tiers(n=4, length_control=0.2)])
def test_mining_holds_the_answers_of_one_prompt(artifact, miner):
    told = miner(scores=artifact(Scores, scores(200)), out=artifact(Pairs))
    assert told["pairs"] > 100
    assert Held.most <= HELD


def test_what_is_said_of_scores_holds_the_answers_of_one_prompt(artifact):
    assert summary(artifact(Scores, scores(200)), "points")["scored"] == 800
    assert Held.most <= HELD


def test_mixing_and_filtering_pairs_hold_one_part(artifact):
    mined, pool = artifact(Pairs, pairs("m", 300)), artifact(Pairs, pairs("o", 300))
    Replay(offline=0.5, seed=0)(mined=mined, pool=pool, out=artifact(Pairs))
    Joined(most=0.4, seed=0)(pairs=mined, more=pool, out=artifact(Pairs))
    Margin(window=(0.1, 0.9))(pairs=mined, out=artifact(Pairs))
    assert Held.most <= HELD
