"""Two judgements against each other: which answer's are worth comparing, who won, and what of it is kept."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import pvariance

from stages.artifacts import Row
from stages.durable import put

SHARES = {"first": 1.0, "second": 0.0, "tie": 0.5}
OUTCOMES = (*SHARES, "unread")


def winner(forward: str | None, backward: str | None) -> str:
    """``first`` or ``second`` if both orders agree, ``tie`` if they do not, ``unread`` if one of them said nothing.

    Args:
        forward, backward: A or B; in ``backward`` the second judgement was shown as A.
    """
    if forward is None or backward is None:
        return "unread"
    if forward == backward:
        return "tie"
    return "first" if forward == "A" else "second"


def most_disputed(rows: Sequence[Row]) -> Row | None:
    """The answer whose valid votes vary most; None if no answer has two that differ."""

    def spread(row: Row) -> float:
        votes = [vote for vote in row["votes"] or [] if vote is not None]
        return pvariance(votes) if len(votes) > 1 else 0.0

    widest = max(rows, key=spread)
    return widest if spread(widest) > 0 else None


def keep(folder: Path, name: int, outcomes: Sequence[str]) -> None:
    """Keep the outcomes of one answer's duels for an attempt that is interrupted; whole or not at all."""
    draft = folder / f"duels-{name:016x}.draft"
    draft.write_text(json.dumps(outcomes), encoding="utf-8")
    put(draft, draft.with_suffix(".json"))


def counted(folder: Path) -> Counter[str]:
    """How often each outcome was kept."""
    kept = (json.loads(file.read_text(encoding="utf-8")) for file in folder.glob("duels-*.json"))
    return Counter(outcome for outcomes in kept for outcome in outcomes)
