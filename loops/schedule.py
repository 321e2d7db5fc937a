"""A loop that is advanced at the times of a cron expression, for as long as this process runs.

The one decision: the scheduler is APScheduler and knows times only. What it does at each is the one-shot command,
``python -m loops advance``, in a process of its own; so cron, systemd, Kubernetes or Slurm can do the same. The job
store, ``runs/<name>/schedule.db``, remembers the next time: what was missed is made up for, all of it by one advance.
"""

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loops import outcome
from loops.advance import alone
from loops.claims import living_maker
from loops.console import say
from loops.cron import trigger
from loops.errors import NothingToDo, RecipeError
from loops.outcome import Outcome, Teller

if TYPE_CHECKING:
    from apscheduler.schedulers.background import BackgroundScheduler

FILE, DATABASE, CLAIM = "schedule.json", "schedule.db", ".schedule"
CRON, JOB = "cron=", "advance"
IDLE = 3
"""The exit code of an advance that found nothing to do."""


def times(overrides: Sequence[str]) -> tuple[str, list[str]]:
    """The cron expression, and the other words.

    Raises:
        RecipeError: there is none.
    """
    said = [word.removeprefix(CRON) for word in overrides if word.startswith(CRON)]
    if not said:
        raise RecipeError("when? say cron='0 2 * * *' (minute, hour, day, month, weekday)")
    return said[-1], [word for word in overrides if not word.startswith(CRON)]


@dataclass(kw_only=True)
class Kept:
    """A schedule that is being kept: the words of its advances, who is told, and the advance that runs, if one does."""

    words: Sequence[str]
    teller: Teller
    child: "subprocess.Popen[bytes] | None" = None
    stopping: bool = False
    last: Outcome | None = None
    over: threading.Event = field(default_factory=threading.Event)
    busy: threading.Lock = field(default_factory=threading.Lock)

    def once(self) -> None:
        """Advance the loop, in a process of its own."""
        with self.busy:
            before = outcome.read(self.teller.place)
            code = self._advanced()
            self._tell(before, code)

    def stop(self) -> None:
        """Ask the advance that runs to end; what has finished is kept."""
        self.stopping = True
        if self.child is not None:
            self.child.terminate()

    def _advanced(self) -> int:
        """Advance; the exit code."""
        if self.stopping:
            return IDLE
        command = [sys.executable, "-m", "loops", "advance", *self.words]
        self.child = subprocess.Popen(command, start_new_session=True)  # Ctrl-C is ours to pass on
        if self.stopping:
            self.child.terminate()
        code = self.child.wait()
        self.child = None
        return code

    def _tell(self, before: Outcome | None, code: int) -> None:
        """Tell what came of it if it did not tell that itself; see whether there will be more to do."""
        self.last = outcome.read(self.teller.place)
        if self.last == before and code not in (0, IDLE):
            died = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
            left = {"rounds": before.rounds, "left": before.left} if before else {"rounds": None, "left": {}}
            self.teller.tell("interrupted" if self.stopping else "failed", f"it died without a word ({died})", left)
        elif self.last != before and self.last and self.last.outcome == "over":
            self.over.set()


KEPT: list[Kept] = []
"""The schedule of this process. The job store holds the name of a function, which finds here what to do."""


def once() -> None:
    """What the job store knows of a schedule."""
    KEPT[-1].once()


def kept(cron: str, words: Sequence[str], teller: Teller) -> None:
    """Keep a schedule until a signal, or until there is nothing more to do.

    Raises:
        RecipeError: the times make no sense.
        NothingToDo: another process keeps it, or the loop's budget or patience has ended.
        KeyboardInterrupt: by a signal; the advance that ran has got one too, and ended.
    """
    trigger(cron)
    own = Kept(words=words, teller=teller)
    with alone(teller.place / CLAIM, "keeps this schedule"):
        KEPT.append(own)
        scheduler = _ready(cron, own)
        try:
            scheduler.resume()
            own.over.wait()
        except KeyboardInterrupt:
            own.stop()
            raise
        finally:
            with own.busy:
                scheduler.shutdown(wait=False)  # else it would wait, with its locks held, for who waits for them
            KEPT.remove(own)
    raise NothingToDo(own.last.text if own.last else "", over=True)


def _ready(cron: str, own: Kept) -> "BackgroundScheduler":
    """The scheduler, paused, with the job that the store remembers, or with a new one if it was for other times.

    An advance that was interrupted goes on at once.
    """
    from apscheduler.events import EVENT_JOB_EXECUTED, EVENT_JOB_SUBMITTED
    from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore
    from apscheduler.schedulers.background import BackgroundScheduler
    from sqlalchemy import URL

    database = URL.create("sqlite", database=str(own.teller.place / DATABASE))
    scheduler = BackgroundScheduler(jobstores={"default": SQLAlchemyJobStore(url=database)})
    scheduler.start(paused=True)
    job, at = scheduler.get_job(JOB), trigger(cron)
    if job is None or repr(job.trigger) != repr(at):
        settings: dict[str, Any] = {"max_instances": 1, "coalesce": True, "misfire_grace_time": None}
        scheduler.add_job(once, at, id=JOB, replace_existing=True, **settings)
    elif (news := outcome.read(own.teller.place)) and news.outcome == "interrupted":
        job.modify(next_run_time=datetime.now(scheduler.timezone))

    tell = partial(_tell_next, scheduler, cron, own)
    tell(None)
    scheduler.add_listener(tell, EVENT_JOB_SUBMITTED | EVENT_JOB_EXECUTED)
    return scheduler


def _tell_next(scheduler: "BackgroundScheduler", cron: str, own: Kept, event: object) -> None:
    """Write down when the loop is advanced next, for ``status`` and, while none runs, for the tracker."""
    job = scheduler.get_job(JOB)
    if job is None:
        return  # the scheduler is being stopped
    at = job.next_run_time.isoformat(timespec="seconds")
    outcome.write(own.teller.place / FILE, {"cron": cron, "next": at})
    if own.child is None:
        own.teller.tag({"schedule.cron": cron, "schedule.next": at})
    say(f"{own.teller.place.name}: next at {at} (cron {cron!r})")


def lines(place: Path) -> list[str]:
    """What ``status`` says of the schedule of the run in this directory."""
    try:
        told = json.loads((place / FILE).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return []
    if living_maker(place / CLAIM):
        return [f"  next advance {told['next']} (cron {told['cron']!r})"]
    return [f"  next advance none: nobody keeps the schedule (cron {told['cron']!r}) since it was stopped"]
