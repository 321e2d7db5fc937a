"""When a run stops early: a metric has said of several rounds in a row that they were in vain.

The one decision: patience is no part of a plan or a key. Every round is planned. A run with little patience does not
begin some of them, and one with more goes on from where that one stopped.
"""

from dataclasses import dataclass, field

from loops.errors import RecipeError, nearest
from loops.manifest import Manifest
from loops.plan import Plan, Step


@dataclass(kw_only=True)
class Patience:
    """Ends a run after so many rounds in vain.

    Args:
        metric: ``<node>/<metric>``, which is 1 in a round that was in vain and 0 in any other.
        rounds: how many of them in a row end the run; None: none do.
    """

    metric: str = ""
    rounds: int | None = None
    vain: set[int] = field(default_factory=set, init=False)

    def __post_init__(self) -> None:
        if self.rounds is not None and (self.rounds < 1 or "/" not in self.metric):
            raise ValueError("patience is {metric: NODE/METRIC, rounds: N}, N at least 1 or null")

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
        node, _, name = self.metric.partition("/")
        if self.rounds is None or step.node != node or not step.round:
            return
        if name not in manifest.metrics:
            raise RecipeError(f"patience.metric: {step.id} tells no {name!r}{nearest(name, manifest.metrics)}")
        if manifest.metrics[name]:
            self.vain.add(step.round)

    def allows(self, step: Step) -> bool:
        """Whether the step's round may still be begun."""
        return self._last is None or step.round <= self._last

    def ended(self, plan: Plan) -> Plan:
        """The plan without the rounds that were not begun; the same object if none was left out."""
        return plan if self._last is None or self._last >= plan.rounds else plan.until(self._last)

    @property
    def why(self) -> str:
        """In words."""
        rounds = "the last round" if self.rounds == 1 else f"the last {self.rounds} rounds"
        return f"stopped after round {self._last}: {self.metric} was 1 in {rounds} (patience.rounds={self.rounds})"

    @property
    def _last(self) -> int | None:
        if self.rounds is None:
            return None
        backs = range(self.rounds)
        return next((round for round in sorted(self.vain) if all(round - back in self.vain for back in backs)), None)
