"""A look into artifacts, as a person would take it: some rows with their texts, and some of a judge's calls.

The one decision: rows are taken at even distances over the whole table, always the same ones, and of a table of pairs
the judge's words come from the scores that the pairs were mined from.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stages.artifacts import Artifact, Completions, Model, Pairs, Row, Scores, Table
from stages.engines.quote import transcript

SHOWN: Mapping[type[Table], tuple[str, ...]] = {
    Pairs: ("prompt", "chosen", "rejected", "chosen_score", "rejected_score", "margin", "source"),
    Scores: ("prompt", "completion", "score", "score_unit", "null_reason", "votes", "judgements"),
    Completions: ("prompt", "completion", "finish_reason"),
}
"""Of each kind, the columns that are shown; the first kind that an artifact is of counts."""
SIDES = ("chosen", "rejected")
LOOKED = 20
"""Rows in which one is looked for that a judge has spoken of: one cut-off answer in a few has no judgement."""


@dataclass(frozen=True, kw_only=True)
class Glance:
    """A few rows and judgements of an artifact.

    Args:
        shown: rows of a table.
        judged: answers of which one call of the judge is shown, in turn the first vote, the second, ...
        letters: the most of a text.
    """

    shown: int = 50
    judged: int = 20
    letters: int = 4000

    def __post_init__(self) -> None:
        if min(self.shown, self.judged) < 0 or self.letters < 1:
            raise ValueError("shown and judged are 0 or more, letters 1 or more")

    def rows(self, made: Artifact, inputs: Mapping[str, Artifact]) -> list[Row]:
        """Rows of pairs, scores or completions: texts instead of conversations, and of pairs the judge's words."""
        columns = next((columns for kind, columns in SHOWN.items() if isinstance(made, kind)), None)
        if not isinstance(made, Table) or columns is None:
            return []
        rows = list(made.rows_at(_evenly(len(made), self.shown)))
        found = [{name: self._cell(row[name]) for name in columns} for row in rows]
        scores = [each for each in inputs.values() if isinstance(each, Scores) and self._judged(each)]
        if isinstance(made, Pairs) and scores:
            words = self._words(scores[0], {row["prompt_id"] for row in rows})
            for row, cells in zip(rows, found, strict=True):
                for side in SIDES:
                    cells[f"{side}_judgements"] = words.get((row["prompt_id"], row[f"{side}_sample"]))
        return found

    def judgements(self, made: Artifact, inputs: Mapping[str, Artifact]) -> list[Row]:
        """Calls of a judge whose words are kept: what it was shown, what it said, and the score that was read."""
        if not isinstance(made, Scores):
            return []
        judge = inputs.get("judge")
        name = judge.identity if isinstance(judge, Model) else "outside"
        rows = made.rows_at(self._judged(made))
        return [self._call(row, number % len(row["judgements"]), name) for number, row in enumerate(rows)]

    def _judged(self, scores: Scores) -> list[int]:
        """Where a judge's words are kept, at even distances among some rows that are looked at for it."""
        places = _evenly(len(scores), LOOKED * self.judged)
        looked = zip(places, scores.rows_at(places, ["judgements"]), strict=True)
        said = [place for place, row in looked if row["judgements"]]
        return [said[place] for place in _evenly(len(said), self.judged)]

    def _call(self, row: Row, vote: int, judge: str) -> Row:
        score = row["votes"][vote] if row["votes"] else row["score"]
        asked = {"prompt": self._cell(row["prompt"]), "answer": self._cell(row["completion"])}
        said = {"words": self._cell(row["judgements"][vote]), "score": score}
        return {"inputs": asked, "outputs": said, "score": score, "judge": judge}

    def _words(self, scores: Scores, prompts: set[str]) -> dict[tuple[str, int], Any]:
        """The judge's words on every answer to some prompts."""
        ids = scores.rows(["prompt_id"])
        places = [place for place, row in enumerate(ids) if row["prompt_id"] in prompts]
        found = scores.rows_at(places, ["prompt_id", "sample", "judgements"])
        return {(row["prompt_id"], row["sample"]): self._cell(row["judgements"]) for row in found}

    def _cell(self, value: Any) -> Any:
        """Conversations and lists of texts as one text, not too long; numbers to four digits."""
        match value:
            case [dict(), *_]:
                value = transcript(value)
            case [str(), *_]:
                value = "\n\n".join(value)
            case float():
                value = float(f"{value:.4g}")
        return f"{value[: self.letters - 1]}…" if isinstance(value, str) and len(value) > self.letters else value


def _evenly(total: int, wanted: int) -> list[int]:
    """So many places out of all, at even distances."""
    count = min(total, wanted)
    return [place * total // count for place in range(count)]
