"""A judge that compares two answers, shown in both orders, by the probability of its label tokens.

The one decision: what one order says counts only with what the other says, so that a judge which always prefers the
first answer prefers neither.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import combinations, groupby
from math import exp
from statistics import fmean
from typing import ClassVar, Literal

from stages.artifacts import Completions, Model, Row, Scores
from stages.engines.engine import Engine, over, there
from stages.engines.memory import passing
from stages.engines.quote import check_template, filled, transcript
from stages.foreseen import Foreseen, Size, passed
from stages.parts import write_parts
from stages.score.summary import label_source, summary

PART = 64
"""Prompts in a part of the artifact."""


@dataclass(frozen=True, kw_only=True)
class Pairwise:
    """Every two answers of a prompt are compared; ℓ(i, j) is the log-odds that i is the better one.

    ℓ = ½[logit q₁ + logit q₂] over both orders (SCIR-style, arXiv 2502.08922, reconstructed), q the probability of a
    label among the two labels. score_i = mean over j of ℓ(i, j), itself as 0: the least-squares solution of
    score_i − score_j = ℓ(i, j), so that of two answers σ(margin) is the judge's probability.

    Args:
        question: the prompt, with {question}, {first} and {second}, each between tags of its name.
        first, second: spellings of the two labels; those that are one token of the model are summed.
        disagreement: where one order prefers one answer and the other order the other one, ``tie`` takes ℓ = 0 and
            ``average`` keeps the mean.
        min_mass: mean probability of both labels together below which the judge has said neither; left out.
        max_tokens: of the prompt; a longer comparison is left out.
        floor: the least share of prompts with a scored answer.
        batch_tokens: speed only.
        engine: whose workers score, if it has some; not part of the identity.
    """

    VERSION: ClassVar[int] = 1
    RESUMES: ClassVar[bool] = True

    question: str
    first: tuple[str, ...] = ("A", " A")
    second: tuple[str, ...] = ("B", " B")
    disagreement: Literal["tie", "average"] = "tie"
    min_mass: float = 0.01
    max_tokens: int = 4096
    floor: float = 0.2
    batch_tokens: int = field(default=4096, compare=False)
    engine: Engine | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        check_template(self.question, "question", "first", "second")
        if set(self.first) & set(self.second) or not self.first or not self.second:
            raise ValueError("first and second must each have a spelling, and none in common")

    def foresee(self, *, completions: Size, judge: Size) -> Foreseen:
        """Every two answers of a prompt, both of them read in both orders."""
        read = completions.rows * (completions.each - 1) * 2
        return there(self.engine, passed(completions, judge, answers=read, memory=passing(judge, self.batch_tokens)))

    def __call__(self, *, completions: Completions, judge: Model, out: Scores) -> Mapping[str, float]:
        """Scores in the order of the completions. Cut-off answers are not compared and have none."""

        def scored(groups: list[list[Row]]) -> list[list[Row]]:
            return self._scored(groups, judge)

        prompts = len({row["prompt_id"] for row in completions.rows(["prompt_id"])})
        groups = (list(rows) for _, rows in groupby(completions.rows(), key=lambda row: row["prompt_id"]))
        spread = over(self.engine)
        write_parts(out, groups, scored, size=PART, spread=spread, what="comparing", total=prompts)
        told = [row for row in out.rows(["order_flips", "label_mass"]) if row["label_mass"] is not None]
        means = {name: fmean(row[name] for row in told) for name in ("order_flips", "label_mass") if told}
        return {**summary(out, "mean log-odds against the other answers (nats)", self.floor), **means}

    def _scored(self, groups: list[list[Row]], judge: Model) -> list[list[Row]]:
        from stages.engines.labels import label_logprobs
        from stages.engines.models import load_tokenizer

        tokenizer = load_tokenizer(judge)
        whole = [[row for row in rows if row["finish_reason"] == "stop"] for rows in groups]
        compared = [pair for rows in whole for pair in combinations(rows, 2)]
        asked = [
            filled(self.question, tokenizer, question=transcript(one["prompt"]), first=_text(one), second=_text(other))
            for pair in compared
            for one, other in (pair, pair[::-1])
        ]
        found = label_logprobs(judge, asked, (self.first, self.second), self.max_tokens, self.batch_tokens)
        odds: dict[tuple[int, int], tuple[float, bool, float]] = {}
        for (one, other), forward, backward in zip(compared, found[::2], found[1::2], strict=True):
            if (outcome := log_odds(forward, backward)) is not None:
                value, flipped, mass = outcome
                odds[id(one), id(other)], odds[id(other), id(one)] = outcome, (-value, flipped, mass)
        return [
            [{**row, **self._score(row, rows, odds), "label_source": label_source(row, judge)} for row in rows]
            for rows in groups
        ]

    def _score(self, row: Row, rows: list[Row], odds: Mapping[tuple[int, int], tuple[float, bool, float]]) -> Row:
        if row["finish_reason"] != "stop":
            return {"null_reason": "truncated"}
        own = [odds[id(row), id(other)] for other in rows if (id(row), id(other)) in odds]
        if not own:
            return {"null_reason": "nothing_to_compare"}
        kept = [0.0 if flipped and self.disagreement == "tie" else value for value, flipped, _ in own]
        mass, flips = fmean(mass for _, _, mass in own), fmean(float(flipped) for _, flipped, _ in own)
        told = {"votes": kept, "order_flips": flips, "label_mass": mass}
        if mass < self.min_mass:
            return {**told, "null_reason": "no_label"}
        return {**told, "score": sum(kept) / (len(kept) + 1), "score_unit": "log-odds"}


def log_odds(forward: list[float] | None, backward: list[float] | None) -> tuple[float, bool, float] | None:
    """Of one comparison in both orders: (log-odds of the first answer, whether the orders disagree, label mass).

    Args:
        forward, backward: (log P(first label), log P(second label)) in nats; in ``backward`` the answers are swapped.
    """
    if forward is None or backward is None:
        return None
    one, other = forward[0] - forward[1], backward[1] - backward[0]
    mass = fmean(exp(label) for order in (forward, backward) for label in order) * 2
    return (one + other) / 2, one * other <= 0, mass


def _text(row: Row) -> str:
    text: str = row["completion"][0]["content"]
    return text
