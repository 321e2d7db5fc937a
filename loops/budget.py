"""How far a loop may go: rounds, and hours of its steps.

The one decision: a budget is the whole loop's and is counted from what the store holds. So it does not matter who made
the rounds, in how many runs, and a budget that is raised goes on from where the smaller one ended.
"""

from dataclasses import dataclass

from loops.errors import NothingToDo, RecipeError
from loops.plan import Plan


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What a configuration says under ``budget:``; None is no end.

    Args:
        max_rounds: rounds of the loop.
        max_hours: hours that the loop's steps have taken, setup included, after which no round is begun. A round that
            is being made is made to its end.
    """

    max_rounds: int | None = None
    max_hours: float | None = None

    def __post_init__(self) -> None:
        if self.max_rounds is not None and self.max_rounds < 1:
            raise ValueError(f"max_rounds must be at least 1, or null, not {self.max_rounds}")
        if self.max_hours is not None and self.max_hours <= 0:
            raise ValueError(f"max_hours must be above 0, or null, not {self.max_hours}")

    def check(self, plan: Plan) -> None:
        """
        Raises:
            RecipeError: the plan has more rounds than there may be.
        """
        if self.max_rounds is not None and plan.rounds > self.max_rounds:
            raise RecipeError(f"rounds={plan.rounds} is more than budget.max_rounds={self.max_rounds}; say one of them")

    def target(self, rounds: int, more: int) -> int:
        """Where a loop that stands after ``rounds`` goes if it is to make ``more``.

        Raises:
            NothingToDo: there are as many as there may be.
        """
        if self.max_rounds is not None and rounds >= self.max_rounds:
            raise NothingToDo(f"round {rounds} is made, and budget.max_rounds={self.max_rounds}", over=True)
        return rounds + more if self.max_rounds is None else min(rounds + more, self.max_rounds)

    def left(self, rounds: int, hours: float) -> dict[str, float]:
        """What is left of what is limited, after so many rounds and hours."""
        left: dict[str, float] = {}
        if self.max_rounds is not None:
            left["rounds"] = max(0, self.max_rounds - rounds)
        if self.max_hours is not None:
            left["hours"] = round(max(0.0, self.max_hours - hours), 3)
        return left
