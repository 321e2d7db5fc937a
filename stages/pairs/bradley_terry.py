"""Strengths of players from who beat whom (Bradley and Terry, 1952), on the Elo scale."""

from collections.abc import Mapping, Sequence
from math import log10

ROUNDS = 1000
PRIOR = 0.1
"""Half-wins that each player shares with every other before any comparison, so that strengths stay finite."""


def ratings(players: int, wins: Mapping[tuple[int, int], float]) -> Sequence[float]:
    """Elo ratings (base 1000, scale 400) by minorisation-maximisation (Hunter, 2004).

    Args:
        wins: (winner, loser) -> number of wins; a tie is half a win for each.
    """
    beaten = [
        [wins.get((one, other), 0.0) + PRIOR * (one != other) for other in range(players)] for one in range(players)
    ]
    strength = [1.0] * players
    for _ in range(ROUNDS):
        renewed = [
            sum(beaten[one])
            / sum(
                (beaten[one][other] + beaten[other][one]) / (strength[one] + strength[other])
                for other in range(players)
                if other != one
            )
            for one in range(players)
        ]
        scale = players / sum(renewed)
        moved = max(abs(new * scale - old) for new, old in zip(renewed, strength, strict=True))
        strength = [new * scale for new in renewed]
        if moved < 1e-10:
            break
    return [1000 + 400 * log10(value) for value in strength]
