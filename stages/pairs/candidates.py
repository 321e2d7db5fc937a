"""Every prompt's valid answers as arrays: all that miners compare, without a text.

The one decision: a prompt with fewer answers repeats its first one. Of equals the first is taken, so this changes
neither its best nor its worst answer, and all prompts are compared in one array operation.
"""

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A prompt's valid answers: their places among all rows, their scores and lengths, and the noise of a score."""

    places: Sequence[int]
    scores: Sequence[float]
    lengths: Sequence[float]
    noise: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Candidates:
    """Those of all prompts: ``places``, ``scores`` and ``lengths`` (prompts, n), ``noise`` (prompts,).

    ``valid`` (prompts,) is how many of a prompt's n entries are answers; the others repeat its first.
    """

    places: Any
    scores: Any
    lengths: Any
    noise: Any
    valid: Any


@dataclass(frozen=True, kw_only=True)
class Picks:
    """The indices of each prompt's better and worse answer (prompts,), by the values of its answers (prompts, n)."""

    best: Any
    worst: Any
    values: Any

    @property
    def margin(self) -> Any:
        """By how much the better ones are better. (prompts,)"""
        return taken(self.values, self.best) - taken(self.values, self.worst)


def gathered(candidates: Iterable[Candidate], n: int) -> Candidates:
    """Arrays of candidates that are streamed, none of which has more than n answers."""
    import numpy as np

    places, scores, lengths, noise, valid = array("q"), array("d"), array("d"), array("d"), array("q")
    for one in candidates:
        repeated = range(n - len(one.places))
        places.extend([*one.places, *(one.places[0] for _ in repeated)])
        scores.extend([*one.scores, *(one.scores[0] for _ in repeated)])
        lengths.extend([*one.lengths, *(one.lengths[0] for _ in repeated)])
        noise.append(one.noise)
        valid.append(len(one.places))
    wide = [np.array(column).reshape(-1, n) for column in (places, scores, lengths)]
    return Candidates(
        places=wide[0], scores=wide[1], lengths=wide[2], noise=np.array(noise), valid=np.array(valid, dtype=int)
    )


def taken(values: Any, indices: Any) -> Any:
    """Of each prompt the value at its index. (prompts, n), (prompts,) -> (prompts,)"""
    import numpy as np

    return np.take_along_axis(values, indices[:, None], axis=1)[:, 0]
