"""The models that a loop hands from round to round, as versions of a registered model, and the alias ``champion``.

The one decision: a version is known by the key of the step that made it, so loops that share a round share its version,
and nothing is registered twice. Weights stay in the store: a version says where they lie.
"""

from loops.dashboard.finished import Finished
from loops.dashboard.runs import Runs
from loops.gated import REFUSED
from loops.plan import Plan, Step

CHAMPION = "champion"
"""The alias of the version that goes on: the last that a gate has handed on; without a gate the last."""
MOST = 10_000
"""Versions that MLflow hands over in one answer."""


class Registry:
    """The versions of one carried name of a plan.

    Args:
        runs, uri: where the loop's runs are.
        plan: the loop.
        carried: the name. Versions are those of NAME_of_RECIPE. Nothing is registered if the loop carries no such name.
    """

    def __init__(self, runs: Runs, uri: str, plan: Plan, carried: str) -> None:
        self._runs, self._local = runs, not uri.startswith("http")
        self._loop, self._name = plan.name, f"{carried}_of_{plan.name}"
        handed_on = [each[carried] for each in plan.handed_on if carried in each]
        self._handed_on = {step.id: _model(step, carried) for step in handed_on}
        self._models = {step.key for step in self._handed_on.values()}
        self._versions: dict[str, str] = {}
        self._champion = ""
        if self._models:
            self._find(f"What {plan.name} hands from round to round.")

    def note(self, each: Finished, run: str) -> None:
        """A step was told: register what it made, if that is what the loop hands on."""
        if each.step.key in self._models:
            self._register(each, run)
        handed_on = self._handed_on.get(each.step.id)
        if handed_on and not each.manifest.metrics.get(REFUSED):
            self._champion = self._versions[handed_on.key]

    def crown(self) -> None:
        """Move the alias to the last version that was handed on. Not while old rounds are told, which would move it
        back."""
        if self._champion:
            self._runs.client.set_registered_model_alias(self._name, CHAMPION, self._champion)

    def _find(self, described: str) -> None:
        """The versions that are there, by key; a new model if there is none."""
        client = self._runs.client
        if not client.search_registered_models(f"name = '{self._name}'"):
            client.create_registered_model(self._name, description=described)
        for version in client.search_model_versions(f"name = '{self._name}'", max_results=MOST):
            if "key" in version.tags:
                self._versions[version.tags["key"]] = version.version

    def _register(self, each: Finished, run: str) -> None:
        if each.step.key in self._versions:
            return
        source = str(each.artifact.resolve())
        tags = {**self._runs.tags, "loop": self._runs.loop, "key": each.step.key, "round": str(each.step.round)}
        if not self._local:  # a server refuses paths, which may be those of another machine
            tags["artifact"], source = source, f"runs:/{run}/manifest.json"
        what = f"{each.step.id} of {self._loop}"
        version = self._runs.client.create_model_version(
            self._name, source, run, tags, description=what, await_creation_for=0
        )
        self._versions[each.step.key] = version.version


def _model(handed_on: Step, carried: str) -> Step:
    """Where a gate stands between what a round makes and what it hands on, what the round made."""
    return handed_on.inputs["candidate"] if handed_on.node == f"keep_{carried}" else handed_on
