"""Which answers may take part in a comparison: what all miners of one pair a prompt have in common.

The one decision: an answer leaves for the first rule that it breaks, and each rule counts what it took.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import groupby
from math import ceil

from stages.artifacts import Row, Scores
from stages.pairs.candidates import Candidate, Candidates, gathered
from stages.pairs.length import Unit, length

RULES = ("truncated", "empty", "overlong", "unscored", "duplicate")


@dataclass(frozen=True, kw_only=True)
class Miner:
    """The fields that every miner of one pair a prompt has.

    Args:
        n: answers a prompt, at least two; a prompt that has another number is an error.
        shortest, longest: an answer of at most ``shortest`` or at least ``longest`` characters is dropped (as in DICE).
        min_valid: a prompt needs ceil(min_valid · n) valid answers (DICE: 8 of 16), and never fewer than two.
        preference_scale: where scores are log-odds (``pairwise``: 1; ``implicit``: β), what makes them so. The pairs
            then say how sure their labels are, for a loss that reads it. None: scores are only an order.
    """

    n: int
    shortest: int = 3
    longest: int = 6700
    min_valid: float = 0.5
    preference_scale: float | None = None

    def __post_init__(self) -> None:
        if self.preference_scale is not None and self.preference_scale <= 0:
            raise ValueError(f"preference_scale must be above 0, not {self.preference_scale}")
        if self.n < 2:
            raise ValueError(f"n is the number of answers a prompt; best against worst needs at least 2, not {self.n}")
        if not 0 <= self.shortest < self.longest:
            raise ValueError(f"shortest must be at least 0 and below longest, not {self.shortest} and {self.longest}")
        if not 0 < self.min_valid <= 1:
            raise ValueError(f"min_valid is a share of the answers, in (0, 1], not {self.min_valid}")

    def candidates(self, scores: Scores, unit: Unit, counts: Counter[str]) -> Candidates:
        """Every prompt with at least ceil(min_valid · n) valid answers, and two.

        Raises:
            ValueError: a prompt has more or fewer than n answers: some were lost, or n is wrong.
        """
        return gathered(self._candidates(scores, unit, counts), self.n)

    def _candidates(self, scores: Scores, unit: Unit, counts: Counter[str]) -> Iterator[Candidate]:
        columns = ["prompt_id", "completion", "finish_reason", "score", "score_noise"]
        columns += ["completion_tokens"] if unit == "tokens" else []
        numbered = enumerate(scores.rows(columns))
        for prompt_id, group in groupby(numbered, key=lambda entry: entry[1]["prompt_id"]):
            rows = list(group)
            if len(rows) != self.n:
                raise ValueError(f"prompt {prompt_id!r} has {len(rows)} answers, not {self.n}: were some lost?")
            valid = list(self._valid(rows, counts))
            counts["prompts"] += 1
            if len(valid) < max(2, ceil(Fraction(str(self.min_valid)) * self.n)):
                counts["too_few_valid"] += 1
                continue
            yield Candidate(
                places=[place for place, _ in valid],
                scores=[row["score"] for _, row in valid],
                lengths=[
                    float(length(row["completion"][0]["content"], row.get("completion_tokens", []), unit))
                    for _, row in valid
                ],
                noise=max(row["score_noise"] or 0.0 for _, row in valid),
            )

    def _valid(self, rows: list[tuple[int, Row]], counts: Counter[str]) -> Iterator[tuple[int, Row]]:
        seen: set[str] = set()
        for place, row in rows:
            rule = self._broken_rule(row, seen)
            if rule is None:
                yield place, row
            else:
                counts[f"dropped_{rule}"] += 1

    def _broken_rule(self, row: Row, seen: set[str]) -> str | None:
        text = row["completion"][0]["content"].strip()
        if row["finish_reason"] != "stop":
            return "truncated"
        if len(text) <= self.shortest:
            return "empty"
        if len(text) >= self.longest:
            return "overlong"
        if row["score"] is None:
            return "unscored"
        normalised = " ".join(text.split())
        if normalised in seen:
            return "duplicate"
        seen.add(normalised)
        return None
