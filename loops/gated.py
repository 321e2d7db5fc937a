"""Recipes whose rounds end at a gate: what they hand on is what the round made, or what it began with.

The one decision: the fold stays a fold. Every gated name gets a node of its own, which reads the verdict and both, and
hands on one of them. So a choice is a step with a key, and a recipe need not know that it is gated.
"""

from dataclasses import dataclass, replace
from typing import Any

from loops.errors import RecipeError
from loops.recipe import Node, Recipe
from loops.stage import build_as

REFUSED = "kept_incumbent"
"""The metric of the class that keeps: 1 where it has handed on the incumbent."""


@dataclass(frozen=True, kw_only=True)
class Gate:
    """What a configuration says under ``gate:``.

    Args:
        verdict: the node whose artifact says which of the two goes on.
        keep: the class of the stage that hands on the ``candidate`` or the ``incumbent``, by the ``verdict``.
        carries: what is gated, as far as the recipe carries it. What is not named goes on as it is.
    """

    verdict: str
    keep: str
    carries: tuple[str, ...]


def gated(recipe: Recipe, section: dict[str, Any]) -> Recipe:
    """The recipe with a node ``keep_NAME`` in each round for each gated name; as it was if the section is empty.

    Raises:
        RecipeError: the section is no gate's, nothing that it names is carried, or a node has such a name already.
    """
    if not section:
        return recipe
    gate: Gate = build_as(f"{__name__}.{Gate.__name__}", section, "gate")
    names = [name for name in gate.carries if name in recipe.carry]
    if not names:
        raise RecipeError(f"gate: {recipe.name} carries none of {', '.join(gate.carries)}, so nothing could be kept")
    for name in names:
        if any(f"keep_{name}" in nodes for nodes in recipe.rounds):
            raise RecipeError(f"round.keep_{name}: the gate's own node has this name; choose another")
    keeping = {
        f"keep_{name}": Node(
            stage={"_target_": gate.keep},
            inputs={"verdict": gate.verdict, "candidate": recipe.carry[name].next, "incumbent": name},
        )
        for name in names
    }
    carry = recipe.carry | {name: replace(recipe.carry[name], next=f"keep_{name}") for name in names}
    return replace(recipe, carry=carry, rounds=[nodes | keeping for nodes in recipe.rounds])
