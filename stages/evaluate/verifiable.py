"""How many tasks a model solves, by kind.

The one decision: n is fixed. Every task counts, and one whose answer was cut off is not solved, so that a model does
not come to look better by rambling where it does not know. ``unscored`` says how many those are.
"""

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import ClassVar

from stages.artifacts import Report, Scores, Tasks
from stages.by_prompt import by_prompt
from stages.evaluate.interval import standard_error, with_interval


@dataclass(frozen=True, kw_only=True)
class Solved:
    """The share of tasks with a right answer, of all and of each kind, with its 95 % Wilson interval."""

    VERSION: ClassVar[int] = 1

    def __call__(self, *, scores: Scores, tasks: Tasks, out: Report) -> Mapping[str, float]:
        """Of scores of Verifiable: ``accuracy`` and ``accuracy_KIND``, each with ``_low`` and ``_high``, and of all
        tasks ``accuracy_se``, √(p(1−p)/n) as Probe has it. ``tasks_KIND`` is how many there are.

        Raises:
            ValueError: a task has no answer, or more than one, or two kinds of task could not be told apart.
        """
        kinds = _kinds(tasks)
        answers = by_prompt(scores, ["prompt_id", "score"], "the model")
        verdicts: dict[str, float | None] = {prompt_id: row["score"] for prompt_id, row in answers.items()}
        if lacking := kinds.keys() ^ verdicts.keys():
            raise ValueError(f"{len(lacking)} tasks have no answer, or answers no task, such as {min(lacking)!r}")
        by_kind: dict[str, list[bool]] = defaultdict(list)
        for prompt_id, kind in kinds.items():
            by_kind[kind].append(verdicts[prompt_id] == 1.0)
        every = [right for solved in by_kind.values() for right in solved]
        report = {
            **with_interval("accuracy", fmean(every), len(every)),
            "accuracy_se": standard_error(fmean(every), len(every)),
            "tasks": float(len(every)),
            "unscored": sum(score is None for score in verdicts.values()) / len(every),
        }
        for kind, solved in sorted(by_kind.items()):
            report |= with_interval(f"accuracy_{kind}", sum(solved) / len(solved), len(solved))
            report[f"tasks_{kind}"] = float(len(solved))
        out.write(report)
        return report


def _kinds(tasks: Tasks) -> dict[str, str]:
    """Each task's kind, as it stands in a metric's name."""
    told = {row["prompt_id"]: row["kind"] for row in tasks.rows(["prompt_id", "kind"])}
    names = {kind: re.sub(r"\W+", "_", kind) for kind in told.values()}
    for kind, name in names.items():
        if re.fullmatch(r"(.*_)?(se|low|high)", name) or list(names.values()).count(name) > 1:
            raise ValueError(f"a kind of task is called {kind!r}, which in metrics cannot be told from another's name")
    return {prompt_id: names[kind] for prompt_id, kind in told.items()}
