"""The model as a Yes/No classifier: P(Yes) against P(No) from one forward pass (IPO, arXiv 2502.16182).

The one decision: the answer's cue stands at the end of the prompt, after what is judged, and both labels are sums over
their spellings.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import exp
from statistics import fmean
from typing import ClassVar

from stages.artifacts import Completions, Model, Row, Scores
from stages.engines.engine import Engine, over, there
from stages.engines.memory import passing
from stages.engines.quote import check_template, filled, transcript
from stages.foreseen import Foreseen, Size, passed
from stages.parts import write_parts
from stages.score.summary import label_source, summary

PART = 64


@dataclass(frozen=True, kw_only=True)
class YesNo:
    """score = P(Yes) / (P(Yes) + P(No)) = σ(log P(Yes) − log P(No)).

    Args:
        question: the prompt, with {question} and {response}, each between tags of its name, that asks for Yes or No.
        yes, no: spellings of each label; those that are one token of the model are summed.
        min_mass: P(Yes) + P(No) below which the model has said neither, and there is no score.
        max_tokens: of the prompt; a longer one gets no score.
        floor: the least share of prompts with a scored answer.
        batch_tokens: speed only.
        engine: whose workers score, if it has some; not part of the identity.
    """

    VERSION: ClassVar[int] = 1
    RESUMES: ClassVar[bool] = True

    question: str
    yes: tuple[str, ...] = ("Yes", " Yes", "yes", " yes", "YES", " YES")
    no: tuple[str, ...] = ("No", " No", "no", " no", "NO", " NO")
    min_mass: float = 0.01
    max_tokens: int = 4096
    floor: float = 0.2
    batch_tokens: int = field(default=4096, compare=False)
    engine: Engine | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        check_template(self.question, "question", "response")
        if set(self.yes) & set(self.no) or not self.yes or not self.no:
            raise ValueError("yes and no must each have a spelling, and none in common")

    def foresee(self, *, completions: Size, judge: Size) -> Foreseen:
        """Each answer read once."""
        return there(
            self.engine, passed(completions, judge, answers=completions.rows, memory=passing(judge, self.batch_tokens))
        )

    def __call__(self, *, completions: Completions, judge: Model, out: Scores) -> Mapping[str, float]:
        """Scores in the order of the completions. Cut-off answers have none."""

        def scored(rows: list[Row]) -> list[list[Row]]:
            return [[row] for row in self._scored(rows, judge)]

        spread = over(self.engine)
        write_parts(out, completions.rows(), scored, size=PART, spread=spread, what="judging", total=len(completions))
        mass = [row["label_mass"] for row in out.rows(["label_mass"]) if row["label_mass"] is not None]
        told = {"label_mass": fmean(mass)} if mass else {}
        return {**summary(out, "P(Yes) against P(No)", self.floor), **told}

    def _scored(self, rows: list[Row], judge: Model) -> list[Row]:
        from stages.engines.labels import label_logprobs
        from stages.engines.models import load_tokenizer

        tokenizer = load_tokenizer(judge)
        whole = [place for place, row in enumerate(rows) if row["finish_reason"] == "stop"]
        asked = [
            filled(
                self.question,
                tokenizer,
                question=transcript(rows[place]["prompt"]),
                response=rows[place]["completion"][0]["content"],
            )
            for place in whole
        ]
        logprobs = label_logprobs(judge, asked, (self.yes, self.no), self.max_tokens, self.batch_tokens)
        found = {place: self._score(row) for place, row in zip(whole, logprobs, strict=True)}
        truncated: Row = {"null_reason": "truncated"}
        return [
            {**row, **found.get(place, truncated), "label_source": label_source(row, judge)}
            for place, row in enumerate(rows)
        ]

    def _score(self, logprobs: list[float] | None) -> Row:
        if logprobs is None:
            return {"null_reason": "overlong"}
        yes, no = logprobs
        mass = exp(yes) + exp(no)
        if mass < self.min_mass:
            return {"null_reason": "no_label", "label_mass": mass}
        return {"score": 1 / (1 + exp(min(no - yes, 700.0))), "label_mass": mass, "score_unit": "probability"}
