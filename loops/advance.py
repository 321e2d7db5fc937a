"""A loop that is run on from where it stands, by some rounds: ``python -m loops advance``.

The one decision: a loop stands after those rounds of its last plan (``runs/<name>/plan.json``) that the store holds
whole, and is run on as any run is. A round that was interrupted is gone on with. A round that was made stays as it is:
an advance that would make it anew is refused, because nobody is there to see it at two in the morning.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from loops import record
from loops.budget import Budget
from loops.claims import SIGN, claim
from loops.differences import own_differences
from loops.errors import NothingToDo, RecipeError
from loops.manifest import Manifest
from loops.plan import Plan
from loops.runner import Runner

CLAIM = ".advance"
"""Where in a run's directory the claim lies of who advances it."""
ROUNDS = "rounds="
MORE = re.compile(r"\+([1-9]\d{0,2})")


def asked(overrides: Sequence[str]) -> tuple[list[str], int]:
    """The words without ``rounds=+N``, and N, which is 1 if nobody says.

    Raises:
        RecipeError: the rounds are not as many more.
    """
    said = [word.removeprefix(ROUNDS) for word in overrides if word.startswith(ROUNDS)]
    more = MORE.fullmatch(said[-1] if said else "+1")
    if more is None:
        raise RecipeError(f"rounds={said[-1]}: a loop is advanced by rounds=+1 or more; `run` takes how many it has")
    return [word for word in overrides if not word.startswith(ROUNDS)], int(more[1])


@contextmanager
def alone(place: Path, what: str) -> Iterator[None]:
    """Be the only one who does this, as far as claims go.

    Raises:
        NothingToDo: another one gives signs of life. One that died, or gives none for a minute, is followed.
    """
    with claim(place, _Stirs(place)) as mine:
        if mine is None:
            raise NothingToDo(f"another one {what}")
        yield


class _Stirs:
    """Whether somebody's claim on a place has got a sign of life since the first look."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._first: dict[Path, int] = {}

    def __call__(self) -> bool:
        for sign in self._place.glob(f"*/{SIGN}"):
            with suppress(FileNotFoundError):
                changed = sign.stat().st_mtime_ns
                if self._first.setdefault(sign, changed) != changed:
                    return True
        return False


@dataclass(kw_only=True)
class Loop:
    """A loop that is to be advanced: its runner, how far it may go, and the plan that it last had."""

    runner: Runner
    budget: Budget

    def __post_init__(self) -> None:
        there = (self.runner.run_dir / record.FILE).exists()
        self.before = record.read(self.runner.run_dir) if there else None
        self.began = self.rounds()
        self.reached = max((step.round for step, made in self._standing() if made), default=0)

    def rounds(self) -> int:
        """After how many rounds it stands."""
        standing = self._standing()
        unfinished = {step.round for step, made in standing if made is None}
        return max(0, min(unfinished, default=max((step.round for step, _ in standing), default=0) + 1) - 1)

    def _standing(self) -> list[tuple[record.Recorded, Manifest | None]]:
        """The steps of its last plan, and what the store or what is behind it has of them."""
        if not (self.runner.run_dir / record.FILE).exists():
            return []
        steps, store = record.read(self.runner.run_dir).steps, self.runner.store
        store.look(step.key for step in steps)
        return [(step, store.read(step.key)) for step in steps]

    def target(self, more: int) -> int:
        """How many rounds it is to have: never fewer than something was made of, where some of that is lost.

        Raises:
            NothingToDo: it has as many as there may be.
        """
        goal, most = self.budget.target(self.began, more), self.budget.max_rounds or self.reached
        return max(goal, min(self.reached, most))

    def check(self, plan: Plan) -> None:
        """
        Raises:
            RecipeError: a round that was made would be made anew.
            NothingToDo: its patience or its hours have ended.
        """
        known = self.before.by_id if self.before and self.reached else {}
        self.runner.store.look(step.key for step in plan.steps)
        for step in plan.steps:
            if step.round <= self.reached and step.id in known and known[step.id].key != step.key:
                wrong = "; ".join(own_differences(record.recorded(step), known[step.id]))
                raise RecipeError(
                    f"{step.id} is another than when it was made ({wrong or 'its inputs are'}), so the loop would "
                    "begin anew: take that back, or begin another loop with run=NAME, or make this one anew with `run`"
                )
        self.runner.patience.recall(plan, self.runner.store.read)
        if self.runner.patience.ended(plan).rounds <= self.began:
            raise NothingToDo(self.runner.patience.why, over=True)

    def facts(self) -> dict[str, object]:
        """After how many rounds it stands, and what is left of its budget."""
        rounds, seconds = self.rounds(), {step.key: made.seconds for step, made in self._standing() if made}
        return {"rounds": rounds, "left": self.budget.left(rounds, sum(seconds.values()) / 3600)}
