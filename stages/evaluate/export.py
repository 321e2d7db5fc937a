"""Answers as the files that AlpacaEval, MT-Bench and Arena-Hard grade, so that their own graders judge our models.

The one decision: nothing is graded here. The published numbers are those of the official graders with their judges, and
a grader of ours would give others under the same names.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from stages.artifacts import AnswerFile, Completions, Row
from stages.by_prompt import by_prompt
from stages.seeds import derive


@dataclass(frozen=True, kw_only=True)
class Export:
    """What the files have in common: a model's answers, one a question, under the benchmark's id as ``prompt_id``.

    A cut-off answer is written as it is, as it would be anywhere else, and counted. ``tstamp`` is 0 and an answer's id
    follows from the answer, because the same answers give the same file.

    Args:
        model_name: under which the grader lists the model; also the file's name.
    """

    VERSION: ClassVar[int] = 1

    model_name: str

    def __post_init__(self) -> None:
        if not self.model_name or set(self.model_name) & set("/\\\0") or self.model_name.startswith("."):
            raise ValueError(f"model_name names a file: no slash, and no dot first, in {self.model_name!r}")


@dataclass(frozen=True, kw_only=True)
class AlpacaEval(Export):
    """``MODEL_NAME.json`` for ``alpaca_eval --model_outputs``: a list of instruction, output and generator."""

    def __call__(self, *, answers: Completions, out: AnswerFile) -> Mapping[str, float]:
        """In the answers' order.

        Raises:
            ValueError: a question is a conversation, which AlpacaEval has none of, or was answered twice.
        """
        rows = _by_question(answers)
        for name, row in rows.items():
            if len(row["prompt"]) != 1:
                raise ValueError(f"AlpacaEval's instructions are single questions, but {name!r} is a conversation")
        made = [
            {"instruction": row["prompt"][0]["content"], "output": _text(row), "generator": self.model_name}
            for row in rows.values()
        ]
        text = json.dumps(made, ensure_ascii=False, indent=1)
        (out.path / f"{self.model_name}.json").write_text(text, encoding="utf-8")
        return _counts(rows)


@dataclass(frozen=True, kw_only=True)
class MTBench(Export):
    """``MODEL_NAME.jsonl`` for the folder ``model_answer`` of FastChat's ``llm_judge``: both turns of each question."""

    def __call__(self, *, answers: Completions, second: Completions, out: AnswerFile) -> Mapping[str, float]:
        """In the answers' order.

        Args:
            answers: to the first turns.
            second: to the second ones, as FollowUp asked them.

        Raises:
            ValueError: the turns do not belong together, or an id is no number.
        """
        first, later = _by_question(answers), _by_question(second)
        if first.keys() != later.keys():
            raise ValueError("both turns must answer the same questions")
        for name, row in first.items():
            if not name.isdecimal():
                raise ValueError(f"MT-Bench's question_id is a number, not {name!r}; map that column to prompt_id")
            if later[name]["prompt"][:-1] != [*row["prompt"], *row["completion"]]:
                raise ValueError(f"question {name}: the second turn does not go on from this model's first answer")
        _write_lines(self.model_name, [self._line(row, later[name]) for name, row in first.items()], out)
        return {name: count + _counts(later)[name] for name, count in _counts(first).items()}

    def _line(self, row: Row, later: Row) -> dict[str, Any]:
        return {
            "question_id": int(row["prompt_id"]),
            "answer_id": _answer_id(row),
            "model_id": self.model_name,
            "choices": [{"index": 0, "turns": [_text(row), _text(later)]}],
            "tstamp": 0.0,
        }


@dataclass(frozen=True, kw_only=True)
class ArenaHard(Export):
    """``MODEL_NAME.jsonl`` for the folder ``model_answer`` of Arena-Hard-Auto v2, without the counts of tokens and of
    markdown that only its style control reads."""

    def __call__(self, *, answers: Completions, out: AnswerFile) -> Mapping[str, float]:
        """In the answers' order."""
        rows = _by_question(answers)
        _write_lines(self.model_name, [self._line(row) for row in rows.values()], out)
        return _counts(rows)

    def _line(self, row: Row) -> dict[str, Any]:
        return {
            "uid": row["prompt_id"],
            "ans_id": _answer_id(row),
            "model": self.model_name,
            "messages": [*row["prompt"], {"role": "assistant", "content": {"answer": _text(row)}}],
            "tstamp": 0.0,
        }


def _by_question(answers: Completions) -> dict[str, Row]:
    return by_prompt(answers, ["prompt_id", "prompt", "completion", "finish_reason"], "the model")


def _write_lines(model_name: str, lines: list[dict[str, Any]], out: AnswerFile) -> None:
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    (out.path / f"{model_name}.jsonl").write_text(text, encoding="utf-8")


def _counts(rows: Mapping[str, Row]) -> dict[str, float]:
    return {"answers": len(rows), "truncated": sum(row["finish_reason"] == "length" for row in rows.values())}


def _answer_id(row: Row) -> str:
    return f"{derive('answer', row['prompt_id'], _text(row)):016x}"


def _text(row: Row) -> str:
    text: str = row["completion"][0]["content"]
    return text
