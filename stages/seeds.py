"""Seeds that depend on what is drawn and on nothing else: not on the clock, the machine, or what ran before."""

import hashlib


def derive(*parts: object) -> int:
    """A 64-bit seed from the parts, such as (a stage's seed, prompt id, sample index)."""
    return int.from_bytes(hashlib.sha256("\x1f".join(map(str, parts)).encode()).digest()[:8], "big")
