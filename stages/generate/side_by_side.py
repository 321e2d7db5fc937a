"""Two models' answers to the same prompts, side by side, so that whatever scores answers can compare the models.

The one decision: n is fixed. A prompt that one of the two has not answered, or was asked otherwise, is an error, so
that a win rate is always over all of the prompts.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from stages.artifacts import Completions, Row
from stages.by_prompt import by_prompt
from stages.foreseen import Foreseen, Size


@dataclass(frozen=True, kw_only=True)
class SideBySide:
    """Sample 0 is the candidate's answer to a prompt, sample 1 the baseline's. What scores them never sees which."""

    VERSION: ClassVar[int] = 1

    def foresee(self, *, candidate: Size, baseline: Size) -> Foreseen:
        """Two rows a prompt."""
        return Foreseen(size=replace(candidate, rows=2 * candidate.rows, prompts=candidate.rows))

    def __call__(self, *, candidate: Completions, baseline: Completions, out: Completions) -> Mapping[str, float]:
        """Two rows a prompt, in the candidate's order.

        Raises:
            ValueError: the two did not answer the same prompts, once each.
        """
        theirs = by_prompt(baseline, [*Completions.COLUMNS], "the baseline")
        ours = by_prompt(candidate, [*Completions.COLUMNS], "the candidate")
        for name, lacking in (("baseline", ours.keys() - theirs.keys()), ("candidate", theirs.keys() - ours.keys())):
            if lacking:
                raise ValueError(f"the {name} has no answer to {len(lacking)} prompts, such as {min(lacking)!r}")
        return {"answers": out.write(row for own in ours.values() for row in _both(own, theirs[own["prompt_id"]]))}


def _both(candidate: Row, baseline: Row) -> Iterator[Row]:
    if candidate["prompt"] != baseline["prompt"]:
        raise ValueError(f"prompt {candidate['prompt_id']!r} is not the same conversation for both models")
    yield {**candidate, "sample": 0}
    yield {**baseline, "sample": 1}
