"""What a configuration says in each round: the same as if all of it were resolved anew, and most of it once."""

import pytest
from omegaconf import OmegaConf

from loops.compose import compose
from loops.errors import RecipeError
from loops.resolved import in_each_round, section
from loops.resolvers import allow_only_ours
from loops.shipped import recipes

FOLLOWING = {
    "directly": "${number}",
    "in a text": "round ${number}",
    "from another section": "${sizes.rate}",
    "through a container": "${sizes}",
    "by a name with the number": "${variants.${called}}",
    "by a container with the number": "${variants.${called}.list}",
    "with a default": "${oc.select:number,7}",
    "far, with a default": "${oc.select:sizes.rate,7}",
    "from beside": "${.directly}",
    "in a list": ["${number}", "${sizes.rate}", {"deep": "${number}"}],
    "by round": "${by_round:[1],{a: ${number}},3}",
    "never": "${sizes.fixed}",
    "never, with a default": "${oc.select:sizes.none,7}",
    "missing": "???",
    "null": None,
    "no interpolation": r"\${number} \\${number}",
    3: [1.5, True],
}
AROUND = {
    "number": 0,
    "sizes": {"rate": "${by_round:0.5,0.5,0.25}", "fixed": 3, "of": "${number}"},
    "called": "r${number}",
    "variants": {f"r{number}": {"list": [number, "${number}"]} for number in (1, 2, 3)},
}


@pytest.fixture(autouse=True)
def _ours():
    allow_only_ours()


def anew(cfg, rounds):
    found = []
    for cfg.number in range(1, rounds + 1):
        found.append(section(cfg, "round"))
    cfg.number = 0
    return found


@pytest.mark.parametrize("name", FOLLOWING)
def test_a_value_follows_the_round_however_it_depends_on_it(name):
    beside = {"directly": FOLLOWING["directly"], name: FOLLOWING[name]}
    cfg = OmegaConf.create(AROUND | {"round": {"node": beside}})
    assert list(in_each_round(cfg, "round", 3)) == anew(cfg, 3)
    assert cfg.number == 0


def test_a_whole_section_may_follow_the_round():
    cfg = OmegaConf.create(AROUND | {"round": "${variants.${called}}"})
    assert list(in_each_round(cfg, "round", 3)) == [{"list": [number, number]} for number in (1, 2, 3)]


@pytest.mark.parametrize("recipe", sorted(recipes()))
def test_every_recipe_says_in_each_round_what_it_says_when_all_is_resolved_anew(recipe):
    cfg = compose([f"recipes={recipe}"])
    assert list(in_each_round(cfg, "round", 3)) == anew(cfg, 3)


def test_what_does_not_depend_on_the_round_is_resolved_once():
    asked = []
    OmegaConf.register_new_resolver("asked", lambda: asked.append(1) or "said", replace=True)
    cfg = OmegaConf.create(AROUND | {"round": {"one": "${asked:}", "another": {"seed": "${number}"}}})
    found = list(in_each_round(cfg, "round", 300))
    assert (found[0], found[-1]) == tuple({"one": "said", "another": {"seed": number}} for number in (1, 300))
    assert len(asked) == 1


def test_a_round_is_its_own_and_changing_it_changes_no_other():
    cfg = OmegaConf.create(AROUND | {"round": {"one": {"list": [1, 2]}}})
    first, second = in_each_round(cfg, "round", 2)
    first["one"]["list"].append(3)
    assert second == {"one": {"list": [1, 2]}}


def test_what_leads_nowhere_is_refused_in_its_round_and_not_while_the_number_is_unknown():
    cfg = OmegaConf.create(AROUND | {"round": {"one": "${variants.${called}.list}"}})
    rounds = in_each_round(cfg, "round", 4)
    assert [next(rounds)["one"][0] for _ in range(3)] == [1, 2, 3]
    with pytest.raises(RecipeError, match=r"round: Interpolation key 'variants.r4.list' not found"):
        next(rounds)
