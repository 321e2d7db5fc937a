"""The kinds of artifact: what a directory holds, and how it is read and written.

The one decision: rows carry forward what a later step needs (Scores rows are Completions rows with a score; Pairs rows
keep scores, token ids and log-probs), so no stage looks back.
"""

import json
from collections.abc import Mapping
from typing import Any, ClassVar

from stages.table import Artifact as Artifact
from stages.table import Row as Row
from stages.table import Table as Table

HANDED_ON = "handed_on.json"
Message = dict[str, str]


class Prompts(Table):
    """Conversations that wait for an answer."""

    COLUMNS: ClassVar = {"prompt_id": "text", "prompt": "messages"}


class Tasks(Prompts):
    """Prompts whose answer can be checked by rule: ``checker`` names a rule of stages/checkers.py, ``expected`` is what
    it is told, and ``kind`` says in a word what is asked, for reports."""

    COLUMNS: ClassVar = {**Prompts.COLUMNS, "checker": "text", "expected": "text", "kind": "text"}


class Demonstrations(Prompts):
    """Prompts with an answer that is to be imitated."""

    COLUMNS: ClassVar = {**Prompts.COLUMNS, "completion": "messages"}


class Completions(Table):
    """Sampled answers. ``completion_tokens`` are the generated ids, with the end-of-turn id only if it was generated;
    ``finish_reason`` is ``stop`` if it was, else ``length``. ``sampled_from`` is the identity of the policy."""

    COLUMNS: ClassVar = {
        **Prompts.COLUMNS,
        "sample": "integer",
        "completion": "messages",
        "finish_reason": "text",
        "prompt_tokens": "integers",
        "completion_tokens": "integers",
        "sampled_from": "text",
    }


class Scores(Completions):
    """Completions with a score: higher is better, null where none could be had, and then ``null_reason`` says why.
    ``score_unit`` is ``log-ratio``, ``log-odds``, ``probability``, ``points`` or ``reward``.

    Log-probs are token sums in nats; ``scored_policy`` is the identity of the model that gave ``policy_logp``;
    ``score_noise`` is how far a score moves when it is computed again in another batch, null if nobody measured it.
    ``label_source`` is ``self`` if the model that answered gave the score, else ``outside``. ``judgements`` are a
    judge's words and ``votes`` what each of them came to, null where it came to nothing. ``order_flips`` is the share
    of comparisons that the other order turned round, ``label_mass`` the probability of all labels together.
    """

    COLUMNS: ClassVar = {
        **Completions.COLUMNS,
        "score": "number",
        "score_unit": "text",
        "null_reason": "text",
        "label_source": "text",
        "votes": "numbers",
        "judgements": "texts",
        "order_flips": "number",
        "label_mass": "number",
        "policy_logp": "number",
        "reference_logp": "number",
        "scored_policy": "text",
        "score_noise": "number",
    }


class Pairs(Table):
    """Preference pairs in trl's conversational columns. Token ids and log-probs are null where nobody has had them yet;
    ``scored_policy`` is the identity of the model that gave ``chosen_logp`` and ``rejected_logp``.

    ``chosen_sample`` and ``rejected_sample`` say which of the prompt's answers they were. ``preference`` is the
    labeller's probability that the chosen one is better, ``chosen_wins`` and ``rejected_wins`` its mean probability
    that they beat the prompt's answers, themselves counted as a half; null where its scores are no log-odds."""

    COLUMNS: ClassVar = {
        **Prompts.COLUMNS,
        "chosen": "messages",
        "rejected": "messages",
        "chosen_score": "number",
        "rejected_score": "number",
        "margin": "number",
        "source": "text",
        "label_source": "text",
        "chosen_sample": "integer",
        "rejected_sample": "integer",
        "preference": "number",
        "chosen_wins": "number",
        "rejected_wins": "number",
        "prompt_tokens": "integers",
        "chosen_tokens": "integers",
        "rejected_tokens": "integers",
        "chosen_logp": "number",
        "rejected_logp": "number",
        "scored_policy": "text",
    }


class Model(Artifact):
    """A directory that ``transformers`` loads: config, safetensors, tokenizer and chat template.

    The end-of-turn ids are those of its generation config. ``lineage.json`` tells what it was trained against, and
    ``handed_on.json`` whose weights these are, where another step made them."""

    @property
    def identity(self) -> str:
        """What tells these weights from others: their first maker's, however often they were handed on."""
        origin = self.path / HANDED_ON
        return str(json.loads(origin.read_text("utf-8"))["identity"]) if origin.exists() else super().identity

    @property
    def trained_against(self) -> str | None:
        """Identity of the reference of the preference training that made it; None if that is unknown."""
        lineage = self.path / "lineage.json"
        return json.loads(lineage.read_text(encoding="utf-8"))["trained_against"] if lineage.exists() else None

    def record_lineage(self, trained_from: str, trained_against: str) -> None:
        """Keep what this model was trained from and against."""
        lineage = {"trained_from": trained_from, "trained_against": trained_against}
        (self.path / "lineage.json").write_text(json.dumps(lineage), encoding="utf-8")


class RewardModel(Artifact):
    """A directory that ``transformers`` loads as a sequence classifier with one output: higher is better."""


class AnswerFile(Artifact):
    """Answers in one file of a benchmark's own format, for its own grader."""


class Report(Artifact):
    """What was measured, as one JSON file; its numbers are the step's metrics too."""

    def write(self, contents: Mapping[str, Any]) -> None:
        """Write the report."""
        (self.path / "report.json").write_text(json.dumps(contents, indent=1, allow_nan=False), encoding="utf-8")

    def read(self) -> dict[str, Any]:
        """Read it back."""
        contents: dict[str, Any] = json.loads((self.path / "report.json").read_text(encoding="utf-8"))
        return contents
