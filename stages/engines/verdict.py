"""What a judge said, out of its own words.

The one decision: a verdict stands on a line of its own that begins with the keyword, and the last such line counts.
Nothing is searched for in the prose, and nothing is guessed: what is not exactly a verdict is none.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

MARKS = r"[\s*_#`]*"
"""What may stand around a verdict; no ``>``, for a quoted line is somebody else's."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """A score, or the reason why there is none."""

    score: float | None = None
    reason: str | None = None


def read_score(judgement: str, keyword: str, lowest: float, highest: float) -> Verdict:
    """The number on the last line ``keyword: number``, if it is within the range; ``4/5`` and ``4 out of 5`` are 4."""
    said = _said(judgement, keyword)
    if said is None:
        return Verdict(reason="no_score")
    out_of = rf"(?:\s*(?:/|out of)\s*{re.escape(f'{highest:g}')})?"
    match = re.fullmatch(rf"([+-]?\d+(?:\.\d+)?){out_of}(?:\s*points?)?", said, flags=re.IGNORECASE | re.ASCII)
    if match is None:
        return Verdict(reason="unreadable")
    score = float(match[1])
    return Verdict(score=score) if lowest <= score <= highest else Verdict(reason="out_of_range")


def read_label(judgement: str, keyword: str, labels: Sequence[str]) -> str | None:
    """The label on the last line ``keyword: label``; only the whole label counts, never a part of a word."""
    said = _said(judgement, keyword)
    return next((label for label in labels if said is not None and said.casefold() == label.casefold()), None)


def without_verdict(judgement: str, keyword: str) -> str:
    """The words without any line that begins with the keyword."""
    line = _line(keyword)
    return "\n".join(text for text in judgement.splitlines() if not line.match(text)).strip()


def _said(judgement: str, keyword: str) -> str | None:
    """What follows the keyword on the last line that begins with it, without marks and a full stop."""
    found = [match[1] for match in map(_line(keyword).match, judgement.splitlines()) if match]
    return _bare(_bare(found[-1]).removesuffix(".")) if found else None


def _bare(text: str) -> str:
    """The text without marks around it. One look at each character: a regular expression for both ends would look at
    a long row of marks once for each of them."""
    shown = [place for place, mark in enumerate(text) if not (mark.isspace() or mark in "*_#`")]
    return text[shown[0] : shown[-1] + 1] if shown else ""


def _line(keyword: str) -> re.Pattern[str]:
    return re.compile(rf"{MARKS}{re.escape(keyword)}{MARKS}:(.*)", flags=re.IGNORECASE)
