"""The judge judged: pairs of judgements, so that the next model judges better (Meta-Rewarding).

The one decision: a judgement wins only if it wins in both orders, with its score hidden; what the meta-judge did not
say in its place counts for nobody.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations, groupby
from math import nan
from pathlib import Path
from typing import ClassVar

from stages.artifacts import Model, Pairs, Row, Scores
from stages.engines.drawing import draw
from stages.engines.engine import Engine, Sampling
from stages.engines.memory import generated
from stages.engines.quote import check_template, filled, transcript
from stages.engines.verdict import read_label, without_verdict
from stages.foreseen import Foreseen, Size
from stages.pairs.bradley_terry import ratings
from stages.pairs.duels import OUTCOMES, SHARES, counted, keep, most_disputed, winner
from stages.parts import waves, write_parts
from stages.seeds import derive

LABELS = ("A", "B")
PART = 8
"""Disputed answers in a part of the artifact."""


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
        self._sampling()

    def foresee(self, *, scores: Size, judge: Size) -> Foreseen:
        """At most a pair a prompt; how many judgements are compared is not known before there are some."""
        asked, words = scores.prompt + scores.answer, float(self.max_new_tokens)
        size = Size(rows=scores.prompts, prompts=scores.prompts, prompt=asked)
        return generated(self.engine, judge, rows=nan, prompt=asked, answer=words, size=size)

    def __call__(self, *, scores: Scores, judge: Model, out: Pairs) -> Mapping[str, float]:
        """At most one pair a prompt, in the scores' order; possibly none at all."""
        disputed = [row for row in map(most_disputed, _prompts(scores)) if row is not None]

        def compared(rows: list[Row]) -> list[list[Row]]:
            return self._compared(rows, judge, out.scratch)

        together = waves(self.engine.rows, PART)
        write_parts(
            out, disputed, compared, size=PART, together=together, what="judging judgements", total=len(disputed)
        )
        duels = counted(out.scratch)
        return {"pairs": len(out), "disputed": len(disputed), **{f"duels_{name}": duels[name] for name in OUTCOMES}}

    def _compared(self, rows: list[Row], judge: Model, scratch: Path) -> list[list[Row]]:
        valid = [[place for place, vote in enumerate(row["votes"]) if vote is not None] for row in rows]
        duels = [list(combinations(places, 2)) for places in valid]
        said = iter(self._said(rows, duels, judge, scratch))
        pairs = []
        for row, places, own in zip(rows, valid, duels, strict=True):
            outcomes = [winner(next(said), next(said)) for _ in own]
            keep(scratch, derive(row["prompt_id"], row["sample"]), outcomes)
            pairs.append(self._pairs(row, places, outcomes, judge))
        return pairs

    def _pairs(self, row: Row, valid: Sequence[int], outcomes: Sequence[str], judge: Model) -> list[Row]:
        """The strongest judgement against the weakest; none where nothing tells them apart or both gave one score."""
        wins: dict[tuple[int, int], float] = {}
        for (one, other), outcome in zip(combinations(range(len(valid)), 2), outcomes, strict=True):
            if outcome in SHARES:
                wins[one, other], wins[other, one] = SHARES[outcome], 1 - SHARES[outcome]
        strengths = ratings(len(valid), wins)
        margin = max(strengths) - min(strengths)
        best, worst = (valid[choose(range(len(valid)), key=strengths.__getitem__)] for choose in (max, min))
        if margin < 1e-6 or row["votes"][best] == row["votes"][worst]:
            return []
        return [self._pair(row, best, worst, margin, judge)]

    def _said(
        self, rows: Sequence[Row], duels: Sequence[Sequence[tuple[int, int]]], judge: Model, kept: Path
    ) -> list[str | None]:
        """What the meta-judge said of each duel, in both orders."""
        from stages.engines.models import load_tokenizer

        tokenizer = load_tokenizer(judge)
        asked, seeds = [], []
        for row, own in zip(rows, duels, strict=True):
            words = [without_verdict(text, self.keyword) for text in row["judgements"]]
            shown = {"question": transcript(row["prompt"]), "response": row["completion"][0]["content"]}
            for first, second in (order for duel in own for order in (duel, duel[::-1])):
                asked.append(filled(self.question, tokenizer, **shown, first=words[first], second=words[second]))
                seeds.append([derive("meta", self.seed, row["prompt_id"], first, second)])
        drawn = [answers[0] for answers in draw(self.engine, judge, asked, seeds, self._sampling(), kept)]
        return [read_label(answer.text, "Winner", LABELS) if answer.ended else None for answer in drawn]

    def _sampling(self) -> Sampling:
        return Sampling(temperature=self.temperature, top_p=self.top_p, max_new_tokens=self.max_new_tokens)

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
        }


def _prompts(scores: Scores) -> Iterator[list[Row]]:
    columns = ["prompt_id", "prompt", "sample", "completion", "votes", "judgements", "label_source"]
    for _, rows in groupby(scores.rows(columns), key=lambda row: row["prompt_id"]):
        yield list(rows)
