"""What came of the last advance of a loop, kept in ``runs/<name>/advance.json`` and told to whoever wants to know.

The one decision: it is news, and no state. Where a loop stands is seen in the store; if this file is lost, nothing is.
"""

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from loops import record
from loops.console import say
from loops.errors import NothingToDo
from loops.notify import Notify
from loops.plain import duration, plain
from loops.secrets import hidden
from loops.tracker import Tracker

FILE = "advance.json"
Word = Literal["advanced", "nothing to do", "over", "failed", "interrupted"]
"""``over``: there is nothing to do, and will be nothing until somebody says other words."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of an advance.

    ``text`` is a sentence, ``at`` the time of day at which it ended, ``rounds`` after how many the loop stands, and
    ``left`` what is left of its budget, as ``rounds`` and ``hours``.
    """

    run: str
    outcome: Word
    text: str
    at: str
    rounds: int | None
    left: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Teller:
    """Tells of a loop's advances: its run's directory, its tracker, and whom the user named."""

    place: Path
    tracker: Tracker
    notify: Notify

    @contextmanager
    def telling(self, facts: Callable[[], Mapping[str, Any]]) -> Iterator[None]:
        """Tell what comes of an advance, however it ends."""
        before, begun = facts()["rounds"], time.monotonic()

        def tell(outcome: Word, text: str) -> None:
            self.tell(outcome, text, facts())

        try:
            yield
        except NothingToDo as idle:
            tell("over" if idle.over else "nothing to do", str(idle))
            raise
        except KeyboardInterrupt:
            tell("interrupted", "it was interrupted; what had finished is kept")
            raise
        except Exception as failure:
            tell("failed", f"{type(failure).__name__}: {failure}")
            raise
        text = f"from round {before} to {facts()['rounds']}, in {duration(time.monotonic() - begun)}"
        tell("advanced", text)
        say(f"advanced {text}")

    def tell(self, outcome: Word, text: str, facts: Mapping[str, Any]) -> None:
        """Write it down, tag the loop's run with it, and tell others, unless it is what they know."""
        before, run = read(self.place), self.place.name
        at = datetime.now().astimezone().isoformat(timespec="seconds")
        news = asdict(Outcome(run=run, outcome=outcome, text=f"{run}: {outcome}: {text}", at=at, **facts))
        told = json.loads(hidden(json.dumps(news)))
        write(self.place / FILE, told)
        left = _left(told["left"])
        self.tag({"advance": outcome, "advance.at": at, "advance.text": told["text"], "advance.left": left})
        if outcome != "nothing to do" and not (outcome == "over" and before and before.outcome == "over"):
            self.notify.send(told)

    def tag(self, tags: Mapping[str, str]) -> None:
        """Tag the loop's run in the tracker, if the loop has begun."""
        if (self.place / record.FILE).exists():
            self.tracker.tag(record.read(self.place).key, tags)


def read(place: Path) -> Outcome | None:
    """The last one of the run in this directory; None if there is none that can be read."""
    try:
        return Outcome(**json.loads((place / FILE).read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def write(file: Path, told: Mapping[str, Any]) -> None:
    """Replace a file by plain JSON, without secrets."""
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    draft.write_text(hidden(json.dumps(told, indent=1)), encoding="utf-8")
    os.replace(draft, file)


def lines(place: Path) -> list[str]:
    """What ``status`` says of it."""
    news = read(place)
    if news is None:
        return []
    left = [f"  budget left  {_left(news.left)}"] if news.left else []
    return [f"  last advance {plain(news.at)}, {plain(news.text.partition(': ')[2], 300)}", *left]


def _left(left: Mapping[str, float]) -> str:
    return ", ".join(f"{number:g} {name}" for name, number in left.items()) or "no end"
