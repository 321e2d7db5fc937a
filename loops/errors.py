"""What can go wrong, as types. Anything else that escapes is a bug and shows its traceback.

LoopError
├── RecipeError    the recipe, its configuration or its materials were refused while planning (exit code 1)
├── StepFailed     a step raised, or the process that ran it died (exit code 2)
├── NothingToDo    a loop was to be advanced that cannot be now, and nothing is wrong (exit code 3)
└── RemoteFailed   what lies elsewhere did not answer, or refused (exit code 2)
"""

import difflib
from collections.abc import Iterable


class LoopError(Exception):
    """Base of everything that the engine reports in one line and without a traceback."""


class RecipeError(LoopError):
    """Refused while planning: says where, what, and what to do."""


class StepFailed(LoopError):
    """A step did not finish. Everything that had finished is kept."""


class NothingToDo(LoopError):
    """There is no round to make now; ``over`` says that there will be none until somebody says other words."""

    def __init__(self, why: str, *, over: bool = False) -> None:
        super().__init__(why)
        self.over = over


class RemoteFailed(LoopError):
    """A remote store or a hub did not answer, or refused. Everything that is here is kept."""


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of a sentence: ``; did you mean 'generate'?``, or what there is to choose from."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=1)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; there is {', '.join(known)}" if known else ""
