"""Any task of lm-evaluation-harness, on a policy.

The one decision: the harness asks and grades, and here is only said what of its results is told, under which name and
how sure it is. So a number is the harness's own, of the version that is part of the key.
"""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import metadata
from importlib.util import find_spec
from typing import Any, ClassVar

from stages.artifacts import Model, Report
from stages.evaluate.harness_results import keep, told
from stages.evaluate.task_files import folder_hash, is_known


@dataclass(frozen=True, kw_only=True)
class Harness:
    """Tasks of lm-evaluation-harness (Gao et al., 2024, 10.5281/zenodo.12608602), by its names.

    What a shipped task asks is downloaded from the hub as it is that day; ``task_hashes`` in results.json tells whether
    two runs were asked the same.

    Args:
        tasks: names of tasks, groups or tags.
        num_fewshot: examples before each question; without it as many as the task says.
        limit: only the first so many questions of each task; without it all.
        chat_template: whether the model is asked through its chat template. Published numbers mostly are without, the
            harness's default.
        include_path: a folder with task files of the user's own; not part of the identity, its contents are. Task files
            can run code.
        batch_size: questions at once; speed only.
        sha256, version: of the folder, and of the harness; found out.
    """

    VERSION: ClassVar[int] = 1

    tasks: list[str]
    num_fewshot: int | None = None
    limit: int | None = None
    chat_template: bool = False
    include_path: str | None = field(default=None, compare=False)
    batch_size: int = field(default=16, compare=False)
    sha256: str | None = field(init=False)
    version: str = field(init=False)

    def __post_init__(self) -> None:
        if find_spec("lm_eval") is None:
            raise ValueError(
                "lm-evaluation-harness is not installed in this environment: pip install 'lm_eval>=0.4.13,<0.5'"
            )
        if not self.tasks or len(set(self.tasks)) < len(self.tasks):
            raise ValueError(f"tasks is a list of different names, not {self.tasks}")
        if (self.num_fewshot or 0) < 0 or (self.limit is not None and self.limit < 1) or self.batch_size < 1:
            raise ValueError("num_fewshot must be at least 0, limit and batch_size at least 1")
        own = folder_hash(self.include_path) if self.include_path is not None else None
        object.__setattr__(self, "sha256", own)
        object.__setattr__(self, "version", metadata.version("lm_eval"))
        self._check_known(lambda name: is_known(name, self.include_path))

    def __call__(self, *, policy: Model, out: Report) -> Mapping[str, float]:
        """``TASK/METRIC`` for every task or group that was asked for, ``TASK/METRIC/FILTER`` where its answers are read
        in several ways, with the 95 % interval as ``_low`` and ``_high``, and ``TASK/questions``.

        Subtasks of a group that has a metric of its own stand in results.json only. A metric that could not be computed
        is null in the report.

        Raises:
            ValueError: there is no such task, it takes no examples, or its files have changed since they were planned.
        """
        from lm_eval import simple_evaluate
        from lm_eval.models.huggingface import HFLM

        from stages.engines.models import load_model, load_tokenizer

        known = _tasks(self.include_path, self.sha256)
        self._check_known(known.task_index.__contains__)
        self._check_shots(known.task_index)
        found = simple_evaluate(
            # the harness changes the tokenizer that it is given
            model=HFLM(load_model(policy), tokenizer=copy.deepcopy(load_tokenizer(policy)), batch_size=self.batch_size),
            tasks=self.tasks,
            num_fewshot=self.num_fewshot,
            limit=self.limit,
            apply_chat_template=self.chat_template,
            task_manager=known,
        )
        if self.include_path is not None and folder_hash(self.include_path) != self.sha256:
            raise ValueError(f"{self.include_path} has changed since it was planned; plan again")
        keep(found, out)
        report = dict(told(found))
        out.write(report)
        return {name: value for name, value in report.items() if value is not None}

    def _check_known(self, known: Callable[[str], bool]) -> None:
        for name in self.tasks:
            if not known(name):
                raise ValueError(f"lm_eval {self.version} has no task {name!r}; `lm_eval ls tasks` lists them")

    def _check_shots(self, index: Mapping[str, Any]) -> None:
        for name in self.tasks:
            if self.num_fewshot and (index[name].cfg or {}).get("num_fewshot") == 0:
                raise ValueError(f"{name} is asked without examples, whatever is said; leave num_fewshot out")


@lru_cache(maxsize=1)
def _tasks(include_path: str | None, sha256: str | None) -> Any:
    """The harness's index of all tasks, which takes it seconds to make."""
    from lm_eval.tasks import TaskManager

    return TaskManager(include_path=include_path)
