"""What a step needs of a machine is said by where its stage lives, and heeded or refused."""

import json

import pytest

from loops.errors import RecipeError
from loops.resources import Resources, check, needed
from loops.stage import build
from tests.loops.recipes import TOYS


def order(tmp_path, target):
    path = tmp_path / "order.json"
    path.write_text(json.dumps({"stage": {"_target_": target}}))
    return path


def test_the_longest_name_that_leads_to_the_stage_counts(tmp_path):
    table = {
        "stages": Resources(cpus=2),
        "stages.generate": Resources(gpus=8),
        "stages.generate.sample.Sample": Resources(gpus=4),
    }
    chosen = {
        name: needed(table, order(tmp_path, name))
        for name in ("stages.generate.sample.Sample", "stages.generate.chunk.Chunk", "stages.pairs.extremes.Extremes")
    }
    assert [one.gpus for one in chosen.values()] == [4, 8, 0]
    assert chosen["stages.pairs.extremes.Extremes"].cpus == 2


def test_a_name_is_a_whole_name_and_not_its_beginning(tmp_path):
    table = {"stages.gen": Resources(gpus=1)}
    assert needed(table, order(tmp_path, "stages.generate.sample.Sample")) is None


def test_a_name_that_leads_nowhere_is_refused():
    check(1, 0, {"stages": Resources(), "stages.generate.sample.Sample": Resources(), TOYS: Resources()})
    for wrong in ("stages.genrate", "stages.generate.sample.Simple", "", "stages generate"):
        with pytest.raises(ValueError, match="there is no package, module or class"):
            check(1, 0, {wrong: Resources()})


@pytest.mark.parametrize("wrong", [{"cpus": -1}, {"gpus": -1}, {"memory": 0}])
def test_impossible_needs_are_refused(wrong):
    with pytest.raises(ValueError, match="at least"):
        Resources(**wrong)
    with pytest.raises(ValueError, match="at least"):
        check(0, 0, {})


def test_what_an_executor_would_ignore_is_refused():
    pytest.importorskip("ray")
    config = {"_target_": "loops.ray_executor.Ray", "resources": {"stages.train": {"gpus": 1, "minutes": 5}}}
    with pytest.raises(RecipeError, match=r"executor.resources: .*5"):
        build(config, "executor")
    config["resources"] = {"stages.train": {"gpus": 2}}
    assert build(config, "executor").resources == {"stages.train": Resources(gpus=2)}
