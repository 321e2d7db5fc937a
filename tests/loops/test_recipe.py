"""Planning: the fold, the keys, and everything that is refused in one line before anything is run."""

import pytest

from loops.errors import RecipeError
from loops.plan import unroll
from loops.recipe import load
from tests.loops.recipes import TOYS, toy


def plan(**changes):
    return unroll(load(toy(**changes)))


def test_a_recipe_unrolls_to_every_step_of_every_round():
    assert [step.id for step in plan().steps] == ["setup/step", "setup/start", "round-01/add", "round-02/add"]


def test_the_second_round_reads_what_the_first_hands_on():
    steps = {step.id: step for step in plan().steps}
    assert steps["round-01/add"].inputs["left"] is steps["setup/start"]
    assert steps["round-02/add"].inputs["left"] is steps["round-01/add"]
    assert plan().carried["total"].id == "round-02/add"


def test_a_material_that_nobody_reads_is_left_out():
    assert "setup/unread" not in [step.id for step in plan().steps]


def test_more_rounds_keep_the_keys_of_the_first_ones():
    shorter, longer = plan().steps, plan(rounds=5).steps
    assert [step.key for step in longer][: len(shorter)] == [step.key for step in shorter]


def test_a_changed_field_changes_exactly_the_steps_downstream():
    before, after = plan().steps, plan(setup={"start": {"stage": {"value": 11.0}}}).steps
    changed = {step.id for step, was in zip(after, before, strict=True) if step.key != was.key}
    assert changed == {"setup/start", "round-01/add", "round-02/add"}


def test_a_round_may_carry_on_the_name_that_another_had_in_it():
    carry = {"total": {"init": "start", "next": "add"}, "before": {"init": "step", "next": "total"}}
    steps = unroll(load(toy(carry=carry, round={"add": {"inputs": {"right": "before"}}}))).steps
    last = next(step for step in steps if step.id == "round-02/add")
    assert last.inputs["right"].id == "setup/start"


def test_a_node_set_to_null_is_left_out():
    changes = {"round": {"extra": None}, "setup": {"other": None}}
    assert [step.id for step in plan(**changes).steps] == [step.id for step in plan().steps]


def test_three_hundred_rounds_are_planned_at_once():
    assert len(plan(rounds=300).steps) == 302


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"round": {"add": {"inputs": {"left": "totl"}}}},
            "round-01/add.inputs.left: nothing is called 'totl'; did you mean 'total'",
        ),
        ({"round": {"add": {"inputs": {"middle": "step"}}}}, "round-01/add: Add reads nothing called 'middle'"),
        ({"round": {"add": {"stage": {"bye": 1}}}}, "round-01/add: Add has no field 'bye'; did you mean 'by'"),
        ({"round": {"add": {"stage": {"by": -1}}}}, "round-01/add: by must be at least 0, not -1"),
        ({"round": {"add": {"stage": {"by": "much"}}}}, "round-01/add.by: .*valid number.*, got 'much'"),
        (
            {"round": {"add": {"stage": {"_target_": f"{TOYS}.Ad"}}}},
            "tests.loops.toys has no stage 'Ad'; did you mean 'Add'",
        ),
        ({"round": {"add": {"stage": {"_target_": "tests.nowhere.Add"}}}}, "there is no module 'tests.nowhere'"),
        ({"round": {"add": {"stage": {"_target_": "os.system"}}}}, "'os.system' is outside what may be run"),
        ({"round": {"add": {"inputs": {"left": None}}}}, "round.add.inputs: expected"),
        ({"carry": {"total": {"init": None}}}, "carry.total: a carry is"),
        ({"round": {"add": None}, "carry": {"total": {"next": "add"}}}, "carry.total.next: nothing is called 'add'"),
        ({"round": {"add": {"input": {}}}}, "round.add: a node has no 'input'; did you mean 'inputs'"),
        ({"round": {"add": 3}}, "round.add: a node is"),
        ({"round": {"total": {"stage": {"_target_": f"{TOYS}.Spell"}}}}, "'total' is what the rounds carry"),
        ({"carry": {"total": {"next": "ad"}}}, "carry.total.next: nothing is called 'ad'; did you mean 'add'"),
        ({"carry": {"total": {"last": "add"}}}, "carry.total: a carry is"),
        ({"rounds": -1}, "rounds: expected a whole number"),
        ({"rounds": "two"}, "rounds: expected a whole number"),
        ({"setup": {"start": {"stage": {"value": "${nothing}"}}}}, "setup: .*nothing"),
    ],
)
def test_what_is_wrong_is_refused_with_where_and_what(changes, message):
    with pytest.raises(RecipeError, match=message) as refused:
        plan(**changes)
    assert "\n" not in str(refused.value)


def test_what_does_not_say_what_it_makes_is_no_stage():
    inline = {"stage": {"_target_": "loops.executors.Inline"}}
    with pytest.raises(RecipeError, match=r"Inline is no stage"):
        plan(setup={"inline": inline})


def test_a_node_that_is_left_out_cannot_be_read_even_if_the_setup_has_its_name():
    add = {"stage": {"_target_": f"{TOYS}.Add"}, "inputs": {"left": "start", "right": "step"}}
    with pytest.raises(RecipeError, match=r"round.add.inputs.left: 'start' is left out"):
        plan(round={"start": None, "add": add})


def test_a_missing_field_is_refused():
    config = toy()
    del config.setup.start.stage.value
    with pytest.raises(RecipeError, match=r"setup/start: Constant needs the field 'value'"):
        unroll(load(config))


def test_a_missing_input_is_refused():
    config = toy()
    del config.round.add.inputs.right
    with pytest.raises(RecipeError, match=r"round-01/add: Add also reads 'right'"):
        unroll(load(config))


def test_a_wrong_kind_is_refused():
    spell = {"stage": {"_target_": f"{TOYS}.Spell"}}
    constant = {"stage": {"_target_": f"{TOYS}.Constant", "value": 1.0}}
    config = toy(
        setup={"word": spell},
        carry={"total": {"init": "word", "next": "word2"}},
        round={"word2": constant, "add": None},
    )
    with pytest.raises(RecipeError, match=r"carry.total: begins as Word .setup/word. and goes on as Number"):
        unroll(load(config))


def test_a_circle_is_refused():
    add = {"stage": {"_target_": f"{TOYS}.Add"}, "inputs": {"left": "add", "right": "step"}}
    with pytest.raises(RecipeError, match=r"round-01: add -> again -> add is a circle"):
        plan(round={"again": add, "add": {"inputs": {"left": "again"}}})


def change(**node):
    settings = {"stage": {"_target_": f"{TOYS}.Change"}, "inputs": {"number": "add"}} | node
    return plan(round={"change": settings})


def test_an_input_that_may_be_left_out_may_be_named_too_and_then_it_is_part_of_the_key():
    without, with_it = change(), change(inputs={"number": "add", "other": "step"})
    assert set(without.steps[-1].inputs) == {"number"}
    assert set(with_it.steps[-1].inputs) == {"number", "other"}
    assert without.steps[-1].key != with_it.steps[-1].key


def test_an_input_that_may_be_left_out_has_a_kind_all_the_same():
    with pytest.raises(RecipeError, match=r"other takes Number, but setup/word makes Word"):
        plan(
            setup={"word": {"stage": {"_target_": f"{TOYS}.Spell"}}},
            round={"change": {"stage": {"_target_": f"{TOYS}.Change"}, "inputs": {"number": "add", "other": "word"}}},
        )


def test_inputs_that_must_differ_are_refused_when_they_are_the_same_artifact_under_two_names():
    twin = {"twin": {"stage": {"_target_": f"{TOYS}.Constant", "value": 1.0}}}
    with pytest.raises(RecipeError, match=r"round-01/change: number and other are the same artifact"):
        plan(
            setup=twin,
            round={"change": {"stage": {"_target_": f"{TOYS}.Change"}, "inputs": {"number": "twin", "other": "step"}}},
        )


def test_a_nested_object_must_be_what_the_field_asks_for():
    assert change(stage={"_target_": f"{TOYS}.Change", "rule": {"_target_": f"{TOYS}.Minus"}}).steps
    with pytest.raises(RecipeError, match=r"round-01/change.rule: expected a Rule, but tests.loops.toys.Add is none"):
        change(stage={"_target_": f"{TOYS}.Change", "rule": {"_target_": f"{TOYS}.Add"}})


def test_what_is_carried_may_begin_as_a_narrower_kind():
    begun = plan(
        setup={"start": None, "first": {"stage": {"_target_": f"{TOYS}.Rounded", "value": 10.0}}},
        carry={"total": {"init": "first"}},
    )
    assert begun.steps[-1].id == "round-02/add"


def test_a_value_may_follow_the_round_and_a_round_without_one_is_refused():
    from loops.compose import compose

    words = ["recipes=dice", "model=smollm2_135m"]
    by_round = "+extra=${by_round:0.5,0.25}"
    cfg = compose([*words, by_round])
    found = []
    for cfg.number in (1, 2):
        found.append(cfg.extra)
    assert found == [0.5, 0.25]
    with pytest.raises(RecipeError, match=r"by_round names values for 2 rounds, none for round 3"):
        load(compose([*words, by_round, "rounds=3", "round.train.stage.loss.beta=${extra}"]))


def test_a_prompts_text_is_part_of_what_is_planned_and_an_unknown_one_is_refused():
    from loops.compose import compose
    from loops.resolvers import text

    assert "{response}" in text("rubric")
    with pytest.raises(RecipeError, match=r"there is no recipes/prompts/rubrik.txt; did you mean 'rubric'"):
        load(compose(["recipes=self_rewarding", "rubric=${text:rubrik}"]))
    for elsewhere in ("../README", "/etc/hostname", "../../pyproject"):
        with pytest.raises(ValueError, match=r"there is no recipes/prompts"):
            text(elsewhere)
