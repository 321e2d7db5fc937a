"""Hands on one of two models, as a verdict says."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from stages.artifacts import Model, Report
from stages.foreseen import Foreseen, Size


@dataclass(frozen=True, kw_only=True)
class Keep:
    """The incumbent if the verdict's ``kept_incumbent`` is 1, else the candidate."""

    VERSION: ClassVar[int] = 1

    def foresee(self, *, verdict: Size, candidate: Size, incumbent: Size) -> Foreseen:
        """Links to a model's files, which take no room."""
        return Foreseen(size=candidate, kept=0.0)

    def __call__(self, *, verdict: Report, candidate: Model, incumbent: Model, out: Model) -> Mapping[str, float]:
        """One of the two, whole."""
        from stages.engines.handing_on import hand_on

        kept = bool(verdict.read()["kept_incumbent"])
        hand_on(incumbent if kept else candidate, out.path)
        return {"kept_incumbent": float(kept)}
