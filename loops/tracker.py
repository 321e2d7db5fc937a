"""Who is told of a run: nobody, or MLflow.

The one decision: MLflow is told in a thread of its own, from what the store holds. So a resumed or cached run has whole
curves, and a server that is slow or down costs a warning and never a step. What gathers meanwhile is told together.
"""

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from threading import Thread

from loops.dashboard.afterwards import keep, tag
from loops.dashboard.finished import Finished
from loops.dashboard.ledger import Ledger
from loops.dashboard.shown import Shown
from loops.manifest import Manifest
from loops.plan import Plan, Step
from loops.secrets import hidden

GROUP = 50
"""At most so many steps are told together; those of a group that was cut off are told again."""
QUIETLY = {
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
"""How MLflow is asked to behave where the user has not said otherwise."""


class Tracker:
    """Told of a run as it goes; does nothing with it by itself."""

    def begin(self, plan: Plan) -> None:
        """The run begins."""

    def started(self, step: Step) -> None:
        """A step was handed to the executor."""

    def failed(self, step: Step) -> None:
        """A step failed; those that run are finished before the run ends."""

    def finished(self, step: Step, manifest: Manifest, artifact: Path, cached: bool) -> None:
        """A step's artifact is there, made now or (``cached``) before."""

    def stopped(self, plan: Plan, why: str) -> None:
        """The run ends early, with what is left of its plan."""

    def end(self, status: str) -> None:
        """The run is over: FINISHED, FAILED or KILLED."""

    def keep(self, loop: str, file: Path) -> None:
        """Keep a copy of a file with the loop of this key, which has been told of."""

    def tag(self, loop: str, tags: Mapping[str, str]) -> None:
        """Say something of the loop of this key, which has been told of."""


@dataclass(kw_only=True)
class Silent(Tracker):
    """Tells nobody."""


@dataclass(kw_only=True)
class MLflow(Tracker):
    """A run for the loop, with ``<node>/<metric>`` at step = round; in it one for each round, and in those the steps'.

    A step's artifact may hold ``curve.jsonl`` (rows of ``{"step": n, name: number}``), which becomes the child's
    metrics, and ``plots/``, which becomes its artifacts. Weights and tables stay in the store, and are referred to.

    Args:
        uri: the tracking server, or a local ``sqlite:///`` file.
        experiment: its name.
        artifacts: where plots go when the experiment is created here; None leaves it to the server.
        patience: seconds to wait at the end for a slow server.
        shown: tags and charts, and what is looked at in artifacts.
    """

    uri: str
    experiment: str
    artifacts: str | None = None
    patience: float = 60.0
    shown: Shown = field(default_factory=Shown)

    def begin(self, plan: Plan) -> None:
        """Find this loop's run or make one."""
        _quietly()
        self._waiting: SimpleQueue[Step | Finished | None] = SimpleQueue()
        self._status, self._stopped = "RUNNING", ""
        self._lost = ""
        self._said = False
        self._thread = Thread(target=self._work, args=(plan,), daemon=True)
        self._thread.start()

    def started(self, step: Step) -> None:
        """Watch the machine from the first step on. A step itself is told when it is whole."""
        self._waiting.put(step)

    def finished(self, step: Step, manifest: Manifest, artifact: Path, cached: bool) -> None:
        """Tell the step, unless this loop's run has it already."""
        self._say_if_lost()
        self._waiting.put(Finished(step=step, manifest=manifest, artifact=artifact, cached=cached))

    def stopped(self, plan: Plan, why: str) -> None:
        """Say so when the loop's run is closed."""
        self._stopped = why

    def end(self, status: str) -> None:
        """Close the loop's run and wait for what is still to be told."""
        self._status = status
        self._waiting.put(None)
        patience = self.patience if status == "FINISHED" else min(5.0, self.patience)
        self._thread.join(timeout=patience)
        if self._thread.is_alive():
            self._lost = f"not done within {patience:.0f} s"
        self._say_if_lost()

    def keep(self, loop: str, file: Path) -> None:
        """Log the file as an artifact of the loop's run. A failure is a warning."""
        self._afterwards(f"does not keep {file}", partial(keep, self.uri, self.experiment, loop, file))

    def tag(self, loop: str, tags: Mapping[str, str]) -> None:
        """Set tags of the loop's run. A failure is a warning."""
        self._afterwards(f"does not know of {', '.join(tags)}", partial(tag, self.uri, self.experiment, loop, tags))

    def _afterwards(self, otherwise: str, tell: Callable[[], bool]) -> None:
        _quietly()
        try:
            lost = "" if tell() else "it knows no such loop: say the loop's command again with tracker=mlflow"
        except Exception as failure:
            lost = _short(failure)
        if lost:
            print(hidden(f"MLflow at {self.uri} {otherwise} ({lost})"), file=sys.stderr)

    def _work(self, plan: Plan) -> None:
        """Tell, group after group, until a call fails: from then on nothing is told."""
        try:
            ledger = Ledger(self.uri, self.experiment, self.artifacts, self.shown, plan)
            try:
                while group := self._gathered():
                    if any(isinstance(each, Step) for each in group):
                        ledger.watch.begin()
                    ledger.tell([each for each in group if isinstance(each, Finished)])
            finally:
                ledger.watch.end()
            ledger.close(self._status, self._stopped)
        except Exception as failure:
            self._lost = _short(failure)

    def _gathered(self) -> list[Step | Finished]:
        """The steps that were begun or wait to be told; none at the end."""
        group: list[Step | Finished] = []
        while not group or (len(group) < GROUP and not self._waiting.empty()):
            each = self._waiting.get()
            if each is None:
                self._waiting.put(None)
                break
            group.append(each)
        return group

    def _say_if_lost(self) -> None:
        """Once, and from the runner's thread: stderr may be a step's log while one runs in this process."""
        if self._lost and not self._said:
            self._said = True
            lost = f"MLflow at {self.uri} is not told ({self._lost}); the loop goes on without it"
            print(hidden(lost), file=sys.stderr)


def _quietly() -> None:
    for name, value in QUIETLY.items():
        os.environ.setdefault(name, value)


def _short(failure: Exception) -> str:
    return f"{type(failure).__name__}: {' '.join(hidden(str(failure)).split())[:200]}"
