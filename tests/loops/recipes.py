"""Recipes of toys, as configurations."""

from omegaconf import OmegaConf

from loops.gated import gated
from loops.recipe import load

TOYS = "tests.loops.toys"


def toy(**changes):
    """A fold that adds one each round: total(n) = total(n-1) + step."""
    config = {
        "name": "toy",
        "rounds": 2,
        "number": 0,
        "materials": {
            "step": {"stage": {"_target_": f"{TOYS}.Constant", "value": 1.0}},
            "unread": {"stage": {"_target_": f"{TOYS}.Constant", "value": 7.0}},
        },
        "setup": {"start": {"stage": {"_target_": f"{TOYS}.Constant", "value": 10.0}}},
        "carry": {"total": {"init": "start", "next": "add"}},
        "round": {
            "add": {
                "stage": {"_target_": f"{TOYS}.Add", "by": "${number}"},
                "inputs": {"left": "total", "right": "step"},
            }
        },
    }
    return OmegaConf.merge(OmegaConf.create(config), OmegaConf.create(changes))


def gated_toy(limit, **changes):
    """The same, in which a total over the limit is not handed on."""
    gate = {"stage": {"_target_": f"{TOYS}.Over", "limit": limit}, "inputs": {"number": "add"}}
    config = OmegaConf.merge(toy(round={"gate": gate}), OmegaConf.create(changes))
    section = {"verdict": "gate", "keep": f"{TOYS}.Keep", "carries": ["total", "another"]}
    return gated(load(config), section)
