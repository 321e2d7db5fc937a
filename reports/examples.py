"""The pairs with the widest and the narrowest margins, as text: what the labels look like where they are most and least
sure.

The one decision: only the numbers of all pairs are read; texts are read of those that are shown.
"""

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from reports.seen import Made, Seen
from stages.artifacts import Message, Pairs, Row

SHOWN = 10
TEXT = 2000
"""The most letters of a text that are shown."""


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A pair as it is shown."""

    prompt: str
    chosen: str
    rejected: str
    chosen_score: float
    rejected_score: float
    margin: float


@dataclass(frozen=True, kw_only=True)
class Examples:
    """Pairs that one step mined."""

    step: str
    round: int
    widest: list[Pair]
    narrowest: list[Pair]


def examples(run: Seen) -> list[Examples]:
    """Of every step that makes pairs of scores, the last round first."""
    miners = [each for each in run.of_kind("Pairs") if run.reads(each, "Scores")]
    return [found for each in reversed(miners) if (found := _of(each)).widest]


def _of(each: Made) -> Examples:
    pairs = Pairs(each.path)
    margins = [(row["margin"], place) for place, row in enumerate(pairs.rows(["margin"])) if row["margin"] is not None]
    widest, narrowest = heapq.nlargest(SHOWN, margins), heapq.nsmallest(SHOWN, margins)
    places = sorted({place for _, place in (*widest, *narrowest)})
    columns = ["prompt", "chosen", "rejected", "chosen_score", "rejected_score", "margin"]
    shown = dict(zip(places, map(_pair, pairs.rows_at(places, columns)), strict=True))
    return Examples(
        step=each.step.id,
        round=each.step.round,
        widest=_picked(shown, widest),
        narrowest=_picked(shown, narrowest),
    )


def _picked(shown: dict[int, Pair], wanted: Iterable[tuple[float, int]]) -> list[Pair]:
    return [shown[place] for _, place in wanted]


def _pair(row: Row) -> Pair:
    return Pair(
        prompt=_transcript(row["prompt"]),
        chosen=_transcript(row["chosen"][-1:]),
        rejected=_transcript(row["rejected"][-1:]),
        chosen_score=row["chosen_score"],
        rejected_score=row["rejected_score"],
        margin=row["margin"],
    )


def _transcript(messages: Sequence[Message]) -> str:
    turns = [turn["content"] if len(messages) == 1 else f"{turn['role']}: {turn['content']}" for turn in messages]
    text = "\n\n".join(turns)
    return text if len(text) <= TEXT else f"{text[: TEXT - 1]}…"
