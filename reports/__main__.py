"""The command line: ``selfloop-report [RUN [RUN]] [runs=DIRECTORY]`` writes a page of a run, or of two.

Exit codes: 0 done, 1 refused, 2 a remote did not answer. The page lies in the (first) run's directory; MLflow keeps a
copy with each loop.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from loops import record
from loops.console import say
from loops.errors import LoopError, RecipeError
from loops.plain import plain
from loops.secrets import hidden, show
from loops.stage import build
from loops.tracker import Tracker
from reports.page import page, write
from reports.seen import seen
from reports.verdict import between, verdicts

USAGE = "selfloop-report [RUN [RUN]] [runs=DIRECTORY] (the latest run in runs/ if none is named)"


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the page and say its verdict; returns the exit code."""
    words = sys.argv[1:] if arguments is None else arguments
    sys.excepthook = show
    if {"-h", "--help"} & set(words):
        say(f"{__doc__}\n{USAGE}")
        return 0
    try:
        report(words)
    except LoopError as refused:
        print(hidden(f"{type(refused).__name__}: {refused}"), file=sys.stderr)
        return 1 if isinstance(refused, RecipeError) else 2
    return 0


def report(words: Sequence[str]) -> Path:
    """Write the page of the runs that these words name.

    Raises:
        RecipeError: the words are others, or a run has no plan.
    """
    names = [word for word in words if "=" not in word]
    named = dict(word.split("=", 1) for word in words if "=" in word)
    folder = Path(named.pop("runs", "runs"))
    if named or len(names) > 2:
        raise RecipeError(f"usage: {USAGE}")
    records = [record.chosen(folder, name) for name in names or [""]]
    found = [seen(each) for each in records]
    path = records[0].place / ("report.html" if len(records) == 1 else f"compare-{records[1].run}.html")
    write(path, page(found))
    for verdict in between(*found) if len(found) > 1 else verdicts(found[0]):
        say(plain(verdict.sentence))
    say(f"{path}")
    for each in records:
        tracker: Tracker = build(each.tracker, "tracker")
        tracker.keep(each.key, path)
    return path


if __name__ == "__main__":
    sys.exit(main())
