"""What a model learns to imitate: instructions with their answers, and judgements with their scores.

The one decision: a graded example is put together here, from question, answer, words and score, by the same rubric that
the judge will be asked with, so learning to judge and judging cannot drift apart.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from stages.artifacts import Demonstrations, Row
from stages.engines.quote import check_template, fill
from stages.foreseen import Foreseen
from stages.sources.local import Answered, known, read
from stages.sources.rows import identifier, shortened, written
from stages.sources.shape import of_file


@dataclass(frozen=True, kw_only=True)
class LocalDemonstrations(Answered):
    """Conversations with an answer, of a local file. See Answered for the fields."""

    CONTENT = "demonstrations"
    VERSION: ClassVar[int] = 1

    def __call__(self, *, out: Demonstrations) -> Mapping[str, float]:
        """Every selected row."""
        return {"demonstrations": out.write(self.rows())}


@dataclass(frozen=True, kw_only=True)
class LocalJudgements:
    """Graded answers of a local file as demonstrations of judging (Self-Rewarding's evaluation fine-tuning).

    Args:
        path: a file with the columns question, answer, judgement, score and id; its sha256 is part of the identity.
        rubric, keyword: of the Judge that is to be taught; the demonstration ends with the line ``keyword: score``.
        most_of_a_score: no score may make up more than this share, or the judge learns to say it always.
    """

    VERSION: ClassVar[int] = 1

    path: str = field(compare=False)
    rubric: str
    keyword: str = "Score"
    most_of_a_score: float = 0.4
    sha256: str = field(init=False)

    def __post_init__(self) -> None:
        check_template(self.rubric, "question", "response")
        if f"{self.keyword}:" not in self.rubric:
            raise ValueError(f"the rubric must ask for the line '{self.keyword}: ...' that is taught")
        object.__setattr__(self, "sha256", known(self.path))

    def foresee(self) -> Foreseen:
        """The file's rows. That each prompt holds the rubric too is left out."""
        return of_file(self.path, 0, None, answers=1)

    def __call__(self, *, out: Demonstrations) -> Mapping[str, float]:
        """Every row.

        Raises:
            ValueError: there is no row, one lacks a column, or one score is too frequent.
        """
        rows = list(self._rows())
        if not rows:
            raise ValueError(f"{self.path}: no row")
        scores = [row.pop("score") for row in rows]
        for score in set(scores):
            if scores.count(score) > self.most_of_a_score * len(scores):
                raise ValueError(
                    f"{self.path}: {scores.count(score)} of {len(scores)} judgements say {score}, more than "
                    f"{self.most_of_a_score:.0%}; a judge that is taught so says it always"
                )
        return {"demonstrations": out.write(rows)}

    def _rows(self) -> Iterator[Row]:
        seen: set[str] = set()
        for number, row in read(self.path, self.sha256):
            place = f"{self.path}, row {number}"
            there = {name for name, value in row.items() if value is not None}
            missing = {"id", "question", "answer", "judgement", "score"} - there
            if missing:
                raise ValueError(f"{place}: no column {', '.join(sorted(missing))}")
            score, prompt_id = row["score"], identifier(row["id"], place)
            if isinstance(score, bool) or not isinstance(score, int | float) or score not in range(-1000, 1001):
                raise ValueError(f"{place}: expected a whole number as score, got {shortened(repr(score))}")
            if prompt_id in seen:
                raise ValueError(f"{place}: the id {shortened(prompt_id)!r} occurs twice")
            seen.add(prompt_id)
            texts = {name: written(row[name], f"{place}, {name}") for name in ("question", "answer", "judgement")}
            yield {
                "prompt_id": prompt_id,
                "prompt": fill(self.rubric, question=texts["question"], response=texts["answer"]),
                "completion": [
                    {"role": "assistant", "content": f"{texts['judgement'].strip()}\n{self.keyword}: {int(score)}"}
                ],
                "score": score,
            }
