"""A judge with a rubric: words first, then a score, several times, averaged (LLM-as-a-Judge).

The one decision: a vote counts only if the judge finished and said a score in its place; an answer with too few such
votes has no score. Only what the judge itself wrote is read.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import ceil
from pathlib import Path
from statistics import fmean
from typing import ClassVar

from stages.artifacts import Completions, Message, Model, Row, Scores
from stages.engines.drawing import Drawn, draw_each
from stages.engines.engine import Engine, Sampling
from stages.engines.memory import generated
from stages.engines.quote import check_template, filled, transcript
from stages.engines.verdict import Verdict, read_score
from stages.foreseen import Foreseen, Size
from stages.parts import waves, write_parts
from stages.score.summary import label_source, summary
from stages.seeds import derive

PART = 64
"""Votes in a part of the artifact."""


@dataclass(frozen=True, kw_only=True)
class Judge:
    """score = mean of the valid votes (Self-Rewarding, arXiv 2401.10020; DICE's repository has it too).

    Args:
        rubric: the judge's prompt, with <question>{question}</question> and <response>{response}</response>.
        votes: judgements an answer, each drawn anew.
        keyword: begins the line that says the score; ``lowest`` and ``highest`` are its range.
        min_votes: the share of the votes that must be valid.
        temperature, top_p, max_new_tokens, seed: how judgements are drawn. One that has not ended by then is no vote.
        max_tokens: of the judge's prompt; an answer for which it is longer is not judged.
        floor: the least share of prompts with a scored answer; below it the step stops and shows what the judge said.
        engine: where it runs; not part of the identity.
    """

    VERSION: ClassVar[int] = 1
    RESUMES: ClassVar[bool] = True

    rubric: str
    votes: int
    keyword: str = "Score"
    lowest: float = 0.0
    highest: float = 5.0
    min_votes: float = 0.5
    temperature: float
    top_p: float = 1.0
    max_new_tokens: int
    seed: int
    max_tokens: int = 4096
    floor: float = 0.2
    engine: Engine = field(compare=False)

    def __post_init__(self) -> None:
        check_template(self.rubric, "question", "response")
        if f"{self.keyword}:" not in self.rubric:
            raise ValueError(f"the rubric must ask for a line '{self.keyword}: ...', or no judge could know to say it")
        if self.votes < 1 or not 0 < self.min_votes <= 1 or not 0 <= self.floor <= 1:
            raise ValueError("votes must be at least 1, min_votes in (0, 1] and floor in [0, 1]")
        if not self.lowest < self.highest:
            raise ValueError(f"lowest must be below highest, not {self.lowest} and {self.highest}")
        if self._sampling().temperature == 0 and self.votes > 1:
            raise ValueError(f"greedy judging (temperature 0) gives {self.votes} equal votes; say votes: 1 or raise it")

    def foresee(self, *, completions: Size, judge: Size) -> Foreseen:
        """So many votes an answer, none longer than ``max_new_tokens``; that the rubric is read too is left out."""
        asked, words = completions.prompt + completions.answer, float(self.max_new_tokens)
        rows = completions.rows * self.votes
        return generated(self.engine, judge, rows=rows, prompt=asked, answer=words, size=completions)

    def __call__(self, *, completions: Completions, judge: Model, out: Scores) -> Mapping[str, float]:
        """Scores in the order of the completions. Cut-off answers are not judged and have none.

        Raises:
            ValueError: too few prompts have a scored answer.
        """

        def scored(rows: list[Row]) -> list[list[Row]]:
            return [[row] for row in self._scored(rows, judge, out.scratch)]

        size = max(1, PART // self.votes)
        together = waves(self.engine.rows, PART)
        write_parts(
            out, completions.rows(), scored, size=size, together=together, what="judging", total=len(completions)
        )
        votes = [vote for row in out.rows(["votes"]) for vote in row["votes"] or []]
        return {
            **summary(out, f"mean score of {self.votes} votes", self.floor),
            "votes": len(votes),
            "votes_invalid": sum(vote is None for vote in votes),
        }

    def _scored(self, rows: list[Row], judge: Model, kept: Path) -> list[Row]:
        found: list[Row] = [{"null_reason": self._why_not(row, judge)} for row in rows]
        asked_for = [place for place, one in enumerate(found) if one["null_reason"] is None]
        judgements = self._judgements([rows[place] for place in asked_for], judge, kept)
        for place, judged in zip(asked_for, judgements, strict=True):
            found[place] = self._verdict(judged)
        source = [label_source(row, judge) for row in rows]
        return [{**row, **one, "label_source": s} for row, one, s in zip(rows, found, source, strict=True)]

    def _why_not(self, row: Row, judge: Model) -> str | None:
        """Why an answer is not judged at all."""
        from stages.engines.chat import prompt_tokens
        from stages.engines.models import load_tokenizer

        if row["finish_reason"] != "stop":
            return "truncated"
        asked = len(prompt_tokens(load_tokenizer(judge), self._asked(row, judge)))
        return "overlong" if asked > self.max_tokens else None

    def _asked(self, row: Row, judge: Model) -> list[Message]:
        from stages.engines.models import load_tokenizer

        shown = {"question": transcript(row["prompt"]), "response": row["completion"][0]["content"]}
        return filled(self.rubric, load_tokenizer(judge), **shown)

    def _judgements(self, rows: list[Row], judge: Model, kept: Path) -> list[list[Drawn] | str]:
        asked = [self._asked(row, judge) for row in rows]
        seeds = [
            [derive("judge", self.seed, row["prompt_id"], row["sample"], vote) for vote in range(self.votes)]
            for row in rows
        ]
        return draw_each(self.engine, judge, asked, seeds, self._sampling(), kept)

    def _sampling(self) -> Sampling:
        return Sampling(temperature=self.temperature, top_p=self.top_p, max_new_tokens=self.max_new_tokens)

    def _verdict(self, judgements: list[Drawn] | str) -> Row:
        if isinstance(judgements, str):
            return {"null_reason": "engine_error", "judgements": [judgements]}
        verdicts = [self._read(judgement) for judgement in judgements]
        valid = [verdict.score for verdict in verdicts if verdict.score is not None]
        enough = len(valid) >= ceil(self.min_votes * self.votes)
        return {
            "score": fmean(valid) if enough else None,
            "null_reason": None if enough else next(verdict.reason for verdict in verdicts if verdict.reason),
            "score_unit": "points",
            "votes": [verdict.score for verdict in verdicts],
            "judgements": [judgement.text for judgement in judgements],
        }

    def _read(self, judgement: Drawn) -> Verdict:
        if not judgement.ended:
            return Verdict(reason="judgement_truncated")
        return read_score(judgement.text, self.keyword, self.lowest, self.highest)
