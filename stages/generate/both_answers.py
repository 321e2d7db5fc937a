"""The two answers of each preference pair as Completions, so that whatever scores answers can score these.

The one decision: a scorer is measured on pairs that people labelled by handing it plain answers. It needs no second way
to be called, and cannot know that it is being examined.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from stages.artifacts import Completions, Pairs, Row
from stages.foreseen import Foreseen, Size


@dataclass(frozen=True, kw_only=True)
class BothAnswers:
    """Sample 0 is the chosen answer of a pair, sample 1 the rejected one. What scores them never sees which.

    ``Pairwise`` asks both orders of every two answers, the others see one answer at a time.
    """

    VERSION: ClassVar[int] = 1

    def foresee(self, *, pairs: Size) -> Foreseen:
        """Two rows a pair."""
        return Foreseen(size=replace(pairs, rows=2 * pairs.rows, prompts=pairs.rows))

    def __call__(self, *, pairs: Pairs, out: Completions) -> Mapping[str, float]:
        """Two rows a pair, in order. Each pair is a prompt of its own: its id begins with the pair's place.

        Raises:
            ValueError: a pair has no token ids, without which the implicit reward cannot be computed.
        """
        count = out.write(row for place, pair in enumerate(pairs.rows()) for row in _both(pair, place))
        return {"answers": count}


def _both(pair: Row, place: int) -> Iterator[Row]:
    if pair["prompt_tokens"] is None:
        raise ValueError("the pairs carry no token ids; pass them through LogProbs first")
    for sample, side in enumerate(("chosen", "rejected")):
        yield {
            "prompt_id": f"{place}-{pair['prompt_id']}",
            "prompt": pair["prompt"],
            "sample": sample,
            "completion": pair[side],
            "finish_reason": "stop",
            "prompt_tokens": pair["prompt_tokens"],
            "completion_tokens": pair[f"{side}_tokens"],
        }
