"""The judge judged: pairs of judgements, so that the next model judges better (Meta-Rewarding).

The one decision: a judgement wins only if it wins in both orders, with its score hidden; what the meta-judge did not
say in its place counts for nobody.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations, groupby
from pathlib import Path
from statistics import pvariance
from typing import ClassVar

from stages.artifacts import Model, Pairs, Row, Scores
from stages.engines.drawing import Drawn, draw
from stages.engines.engine import Engine, Sampling
from stages.engines.quote import check_template, filled, transcript
from stages.engines.verdict import read_label, without_verdict
from stages.pairs.bradley_terry import ratings
from stages.parts import write_parts
from stages.seeds import derive

LABELS = ("A", "B")
SHARES = {"first": 1.0, "second": 0.0, "tie": 0.5}
OUTCOMES = (*SHARES, "unread")


@dataclass(frozen=True, kw_only=True)
class MetaJudge:
    """Of each prompt the answer whose votes vary most; its judgements compared two by two in both orders; the best
    against the worst by Bradley-Terry as a pair whose prompt is the judge's (Meta-Rewarding, arXiv 2407.19594). No pair
    if both gave the same score. The paper's weights by position are left out: only wins in both orders count.

    Args:
        question: the meta-judge's prompt, with <question>, <response>, <first> and <second>, which asks for a line
            ``Winner: A`` or ``Winner: B``.
        rubric, keyword: of the Judge that gave the judgements.
        temperature, top_p, max_new_tokens, seed: how the meta-judge's words are drawn.
        engine: where it runs; not part of the identity.
    """

    VERSION: ClassVar[int] = 1
    RESUMES: ClassVar[bool] = True

    question: str
    rubric: str
    keyword: str = "Score"
    temperature: float
    top_p: float = 1.0
    max_new_tokens: int
    seed: int
    engine: Engine = field(compare=False)

    def __post_init__(self) -> None:
        check_template(self.question, "question", "response", "first", "second")
        check_template(self.rubric, "question", "response")
        if "Winner:" not in self.question:
            raise ValueError("the prompt must ask for a line 'Winner: A' or 'Winner: B'")

    def __call__(self, *, scores: Scores, judge: Model, out: Pairs) -> Mapping[str, float]:
        """At most one pair a prompt, in the scores' order; possibly none at all."""
        disputed = [row for row in map(most_disputed, _prompts(scores)) if row is not None]
        told = out.scratch / "duels.jsonl"

        def compared(rows: list[Row]) -> list[list[Row]]:
            return [self._pairs(row, judge, told) for row in rows]

        write_parts(out, disputed, compared, size=8, what="judging judgements", total=len(disputed))
        by_prompt = dict(map(json.loads, told.read_text(encoding="utf-8").splitlines())) if disputed else {}
        duels = Counter(outcome for outcomes in by_prompt.values() for outcome in outcomes)
        return {"pairs": len(out), "disputed": len(disputed), **{f"duels_{name}": duels[name] for name in OUTCOMES}}

    def _pairs(self, row: Row, judge: Model, told: Path) -> list[Row]:
        valid = [place for place, vote in enumerate(row["votes"]) if vote is not None]
        duels = list(combinations(valid, 2))
        drawn = self._draw(row, duels, judge)
        outcomes = [winner(self._said(one), self._said(two)) for one, two in zip(drawn[::2], drawn[1::2], strict=True)]
        with told.open("a", encoding="utf-8") as file:
            file.write(json.dumps([row["prompt_id"], outcomes]) + "\n")
        wins: dict[tuple[int, int], float] = {}
        for (one, other), outcome in zip(combinations(range(len(valid)), 2), outcomes, strict=True):
            if outcome in SHARES:
                wins[one, other], wins[other, one] = SHARES[outcome], 1 - SHARES[outcome]
        strengths = ratings(len(valid), wins)
        best, worst = (valid[choose(range(len(valid)), key=strengths.__getitem__)] for choose in (max, min))
        if row["votes"][best] == row["votes"][worst]:
            return []
        return [self._pair(row, best, worst, max(strengths) - min(strengths), judge)]

    def _draw(self, row: Row, duels: Sequence[tuple[int, int]], judge: Model) -> list[Drawn]:
        from stages.engines.models import load_tokenizer

        tokenizer = load_tokenizer(judge)
        words = [without_verdict(text, self.keyword) for text in row["judgements"]]
        shown = {"question": transcript(row["prompt"]), "response": row["completion"][0]["content"]}
        orders = [order for duel in duels for order in (duel, duel[::-1])]
        asked = [filled(self.question, tokenizer, **shown, first=words[a], second=words[b]) for a, b in orders]
        seeds = [[derive("meta", self.seed, row["prompt_id"], *order)] for order in orders]
        sampling = Sampling(temperature=self.temperature, top_p=self.top_p, max_new_tokens=self.max_new_tokens)
        return [answers[0] for answers in draw(self.engine, judge, asked, seeds, sampling)]

    def _said(self, drawn: Drawn) -> str | None:
        return read_label(drawn.text, "Winner", LABELS) if drawn.ended else None

    def _pair(self, row: Row, best: int, worst: int, margin: float, judge: Model) -> Row:
        from stages.engines.models import load_tokenizer

        shown = {"question": transcript(row["prompt"]), "response": row["completion"][0]["content"]}
        sides = {"chosen": best, "rejected": worst}
        return {
            "prompt_id": f"judge:{row['prompt_id']}:{row['sample']}",
            "prompt": filled(self.rubric, load_tokenizer(judge), **shown),
            **{side: [{"role": "assistant", "content": row["judgements"][place]}] for side, place in sides.items()},
            **{f"{side}_score": row["votes"][place] for side, place in sides.items()},
            "margin": margin,
            "source": "judgements",
            "label_source": row["label_source"],
        }


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


def _prompts(scores: Scores) -> Iterator[list[Row]]:
    columns = ["prompt_id", "prompt", "sample", "completion", "votes", "judgements", "label_source"]
    for _, rows in groupby(scores.rows(columns), key=lambda row: row["prompt_id"]):
        yield list(rows)
