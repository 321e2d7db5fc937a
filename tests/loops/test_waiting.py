"""What waits: each step as soon as what it reads is there, the first of the plan first, whatever waits beside it."""

from loops.plan import unroll
from loops.recipe import load
from loops.waiting import Waiting
from tests.loops.recipes import TOYS, toy


def planned(rounds=3, **setup):
    plan = unroll(load(toy(rounds=rounds, setup=setup)))
    return plan, {key: steps[0] for key, steps in plan.places().items()}


def ids(steps):
    return [step.id for step in steps]


def every(step):
    return True


def test_a_step_is_taken_when_the_last_of_its_inputs_is_there():
    plan, missing = planned()
    waiting = Waiting(missing, ())
    assert ids(waiting.take(9, every)) == ["setup/step", "setup/start"]
    waiting.finished(plan.steps[0].key)
    assert waiting.take(9, every) == []
    waiting.finished(plan.steps[1].key)
    assert ids(waiting.take(9, every)) == ["round-01/add"]


def test_no_more_are_taken_than_there_is_room_for_and_the_first_of_the_plan_first():
    more = {f"more_{i}": {"stage": {"_target_": f"{TOYS}.Constant", "value": 20.0 + i}} for i in range(5)}
    _, missing = planned(**more)
    waiting = Waiting(missing, ())
    taken = [step for _ in range(4) for step in waiting.take(2, every)]
    assert ids(taken) == ["setup/step", "setup/start", *(f"setup/more_{i}" for i in range(5))]


def test_what_is_done_already_is_not_waited_for():
    plan, missing = planned()
    done = {step.key for step in plan.steps[:3]}
    waiting = Waiting({key: step for key, step in missing.items() if key not in done}, done)
    assert ids(waiting.take(9, every)) == ["round-02/add"]


def test_a_step_that_is_not_allowed_is_passed_over():
    more = {"more": {"stage": {"_target_": f"{TOYS}.Constant", "value": 20.0}}}
    _, missing = planned(**more)
    waiting = Waiting(missing, ())
    assert ids(waiting.take(9, lambda step: step.node != "start")) == ["setup/step", "setup/more"]


def test_a_step_looks_only_at_those_that_read_it():
    looked = []

    class Counting(dict):
        def values(self):
            looked.append(self)
            return super().values()

    plan, missing = planned(rounds=40)
    for step in plan.steps:
        object.__setattr__(step, "inputs", Counting(step.inputs))
    waiting = Waiting(missing, ())
    taken = 0
    while steps := waiting.take(9, every):
        taken += len(steps)
        for step in steps:
            waiting.finished(step.key)
    assert taken == len(looked) == len(plan.steps)
