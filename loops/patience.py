"""When a run stops early: a metric has said of several rounds in a row that they were in vain, or its hours are over.

The one decision: patience is no part of a plan or a key. Every round is planned. A run with little patience does not
begin some of them, and one with more goes on from where that one stopped.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import accumulate

from loops.errors import RecipeError, nearest
from loops.manifest import Manifest
from loops.plan import Plan, Step


@dataclass(kw_only=True)
class Patience:
    """Ends a run after so many rounds in vain, or the round in which its steps have taken so many hours.

    Args:
        metric: ``<node>/<metric>``, which is 1 in a round that was in vain and 0 in any other.
        rounds: how many of them in a row end the run; None: none do.
        hours: what the steps of the setup and the rounds may take, each counted once, whoever made it; None: no end.

    ``took`` is the seconds of each round's steps.
    """

    metric: str = ""
    rounds: int | None = None
    hours: float | None = None
    vain: set[int] = field(default_factory=set, init=False)
    took: dict[int, float] = field(default_factory=dict, init=False)
    known: set[str] = field(default_factory=set, init=False)
    out_of_time: int | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        if self.rounds is not None and (self.rounds < 1 or "/" not in self.metric):
            raise ValueError("patience is {metric: NODE/METRIC, rounds: N}, N at least 1 or null")

    @property
    def ends(self) -> bool:
        """Whether it may end a run."""
        return self.rounds is not None or self.hours is not None

    def check(self, plan: Plan) -> None:
        """
        Raises:
            RecipeError: the plan has no such node, so the run could never stop.
        """
        node, nodes = self.metric.partition("/")[0], {step.node for step in plan.steps}
        if self.rounds is not None and plan.rounds and node not in nodes:
            raise RecipeError(f"patience.metric: no node is called {node!r}{nearest(node, nodes)}")

    def note(self, step: Step, manifest: Manifest) -> None:
        """A step has finished.

        Raises:
            RecipeError: it is the one that is watched, and has no such metric.
        """
        self._count(step, manifest.seconds)
        node, _, name = self.metric.partition("/")
        if self.rounds is None or step.node != node or not step.round:
            return
        if name not in manifest.metrics:
            raise RecipeError(f"patience.metric: {step.id} tells no {name!r}{nearest(name, manifest.metrics)}")
        if manifest.metrics[name]:
            self.vain.add(step.round)

    def recall(self, plan: Plan, made: Callable[[str], Manifest | None]) -> None:
        """Note every step of a plan that is ``made``, by key."""
        for step in plan.steps:
            if manifest := made(step.key):
                self.note(step, manifest)

    def allows(self, step: Step) -> bool:
        """Whether the step's round may still be begun."""
        return self._last is None or step.round <= self._last

    def ended(self, plan: Plan) -> Plan:
        """The plan without the rounds that were not begun; the same object if none was left out."""
        return plan if self._last is None or self._last >= plan.rounds else plan.until(self._last)

    @property
    def spent(self) -> float:
        """Hours that the steps have taken."""
        return sum(self.took.values()) / 3600

    @property
    def why(self) -> str:
        """In words."""
        if self._last != self._in_vain:
            return f"stopped after round {self._last}: its hours are over (budget.max_hours={self.hours:g})"
        rounds = "the last round" if self.rounds == 1 else f"the last {self.rounds} rounds"
        return f"stopped after round {self._last}: {self.metric} was 1 in {rounds} (patience.rounds={self.rounds})"

    @property
    def _last(self) -> int | None:
        return min((round for round in (self._in_vain, self.out_of_time) if round is not None), default=None)

    @property
    def _in_vain(self) -> int | None:
        if self.rounds is None:
            return None
        backs = range(self.rounds)
        return next((round for round in sorted(self.vain) if all(round - back in self.vain for back in backs)), None)

    def _count(self, step: Step, seconds: float) -> None:
        """Add a step's seconds to its round's, and find the round in which the hours were over."""
        if step.key in self.known:
            return
        self.known.add(step.key)
        self.took[step.round] = self.took.get(step.round, 0.0) + seconds
        if self.hours is not None and self.spent >= self.hours:
            upto = accumulate(self.took[round] for round in sorted(self.took))
            whole = zip(sorted(self.took), upto, strict=True)
            self.out_of_time = next(round for round, total in whole if total >= self.hours * 3600)
