"""Progress of running steps as plain lines, for a log file and for whatever else is no terminal.

The one decision: the lines are printed here and not where the step runs, from what it has told. So they look alike
wherever that is.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread

from loops.console import say
from loops.manifest import Manifest
from loops.plan import Step
from loops.progress import told
from loops.store import Store
from loops.tracker import Tracker

EVERY = 10.0


@dataclass(kw_only=True)
class Lines(Tracker):
    """Prints how far the running steps are, those that take long.

    Args:
        named: say whose line it is, for several steps run at once.
        every: seconds between two lines.
    """

    store: Store
    named: bool = False
    every: float = EVERY
    watched: dict[str, ExitStack] = field(default_factory=dict)

    def started(self, step: Step) -> None:
        """Watch it."""
        watching = self.watched[step.key] = ExitStack()
        watching.enter_context(lines(self.store.drafts(step.key), self.every, f"{step.id} " if self.named else ""))

    def finished(self, step: Step, manifest: Manifest, artifact: Path, cached: bool) -> None:
        """No longer."""
        self.watched.pop(step.key, ExitStack()).close()

    def failed(self, step: Step) -> None:
        """No longer; say so where others still run."""
        self.watched.pop(step.key, ExitStack()).close()
        if self.watched:
            say(f"{step.id} failed; what runs is finished first")

    def end(self, status: str) -> None:
        """Watch none any longer."""
        while self.watched:
            self.watched.popitem()[1].close()


@contextmanager
def lines(place: Path, every: float = EVERY, whose: str = "") -> Iterator[None]:
    """Print a line now and then for each bar that has moved, of the step that is made in this place."""
    over = Event()
    thread = Thread(target=_print, args=(place, every, whose, over), daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _print(place: Path, every: float, whose: str, over: Event) -> None:
    before: dict[str, int] = {}
    while not over.wait(every):
        for bar in told(place):
            if 0 < bar.done < bar.total and before.get(bar.what) != bar.done:
                say(f"  {whose}{bar.what}: {bar.amount}, {bar.times}")
                before[bar.what] = bar.done
