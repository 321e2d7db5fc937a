"""Experience replay: mined pairs with some of the offline pairs mixed back in."""

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from hashlib import blake2b
from itertools import chain
from math import floor, isnan, nan
from typing import ClassVar

from stages.artifacts import Pairs
from stages.conversation import conversation_key
from stages.foreseen import Foreseen, Size, largest
from stages.seeds import derive


@dataclass(frozen=True, kw_only=True)
class Replay:
    """Mix generated and offline pairs so that no prompt occurs twice (DICE's experience replay).

    With N offline pairs: n_mined = min(⌊N·(1−γ)⌋, mined), n_offline = ⌊γ·n_mined / (1−γ)⌋.

    Args:
        offline: γ, the share of offline pairs, in [0, 1). 0 is mined pairs only.
        seed: for the two draws without replacement.
    """

    VERSION: ClassVar[int] = 1

    offline: float
    seed: int

    def __post_init__(self) -> None:
        if not 0 <= self.offline < 1:
            raise ValueError(f"offline is the share of offline pairs, in [0, 1), not {self.offline}")

    def foresee(self, *, mined: Size, pool: Size) -> Foreseen:
        """As many as there are if nothing has been dropped, with the longer answers of the two."""
        if isnan(mined.rows + pool.rows):
            return Foreseen(size=replace(mined, rows=nan, prompts=nan))
        rows = float(sum(shares(int(pool.rows), int(mined.rows), self.offline)))
        answer = largest(mined.answer, pool.answer)
        return Foreseen(size=replace(mined, rows=rows, prompts=rows, answer=answer))

    def __call__(self, *, mined: Pairs, pool: Pairs, out: Pairs) -> Mapping[str, float]:
        """Mined pairs first, then offline ones, each in the order of its source.

        Raises:
            ValueError: no pair is left.
        """
        mined_places, pool_places = _places(mined), _places(pool)
        n_mined, n_offline = shares(len(pool), len(mined_places), self.offline)
        generator = random.Random(derive("replay", self.seed))
        chosen = dict.fromkeys(generator.sample(list(mined_places), n_mined))
        free = [prompt for prompt in pool_places if prompt not in chosen]
        kept = sorted(mined_places[prompt] for prompt in chosen)
        replayed = sorted(pool_places[prompt] for prompt in generator.sample(free, min(n_offline, len(free))))
        if not kept and not replayed:
            raise ValueError(
                f"no pair is left: of {len(mined_places)} mined and {len(pool_places)} offline prompts a share of "
                f"{self.offline} takes none. Likely causes: an offline pool that is too small, or a share near 1"
            )
        count = out.write(chain(mined.rows_at(kept), pool.rows_at(replayed)))
        return {"pairs": count, "mined": len(kept), "offline": len(replayed), "offline_wanted": n_offline}


def shares(pool: int, mined: int, offline: float) -> tuple[int, int]:
    """How many mined and how many offline pairs are taken. Computed in fractions: 0.1 means one tenth."""
    gamma = Fraction(str(offline))
    n_mined = min(floor(pool * (1 - gamma)), mined)
    return n_mined, floor(gamma * n_mined / (1 - gamma))


def _places(pairs: Pairs) -> dict[bytes, int]:
    """Where each prompt stands first. A prompt is known by a hash, so that no text is held."""
    places: dict[bytes, int] = {}
    for place, row in enumerate(pairs.rows(["prompt"])):
        key = conversation_key(row["prompt"])
        places.setdefault(blake2b(key.encode("utf-8", "surrogatepass"), digest_size=16).digest(), place)
    return places
