"""What a configuration says of the dashboard: its tags, its charts, and what is looked at in artifacts.

The one decision: the engine knows no column and no metric by name. The configuration names metrics, and a ``Glance``,
which comes from the side of the stages, reads rows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

Row = dict[str, Any]


class Glance(Protocol):
    """A look into artifacts, as a person would take it."""

    def rows(self, made: Any, inputs: Mapping[str, Any]) -> Sequence[Row]:
        """Some rows of a step's artifact, all with the same columns; none if it holds nothing to read."""

    def judgements(self, made: Any, inputs: Mapping[str, Any]) -> Sequence[Row]:
        """Some of the calls of a judge in it, each with its ``inputs``, ``outputs``, ``score`` and ``judge``."""


@dataclass(frozen=True, kw_only=True)
class Shown:
    """How loops are shown.

    Args:
        tags: of every run, by which runs are found: what was chosen of models, data and scales.
        charts: by question, the charts that answer it, each a list of the metrics ``<node>/<metric>`` in it.
        registered: the carried name whose steps become versions of the registered model NAME_of_RECIPE, if the recipe
            carries it.
        glance: looks into artifacts; None looks into none.
    """

    tags: dict[str, str | int | None] = field(default_factory=dict)
    charts: dict[str, list[list[str]]] = field(default_factory=dict)
    registered: str = ""
    glance: Glance | None = None

    def __post_init__(self) -> None:
        if not all(chart for charts in self.charts.values() for chart in charts):
            raise ValueError("a chart names at least one metric, as NODE/METRIC")
