"""The results of an evaluation for one tool."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from styleid.evaluate.battery import Figure, worst
from styleid.evaluate.statistics import Estimate
from styleid.evaluate.table import ToolTable


@dataclass
class Verdict:
    """The results for one tool.

    Attributes:
        table: What was measured of each face.
        figures: The results of the attacks.
        fates: Outcome of each face, (n,) `Fate`.
        exposed: Share of exposed faces (A6).
        kept: Utility measures by name.
        groups: Exposed faces and utility measures, by kind of group and by group.
        variety: Distances between the sets of originals and outputs, by recogniser and measure.
        reversal: How A3 was trained.
    """

    table: ToolTable
    figures: list[Figure] = field(default_factory=list)
    fates: np.ndarray[Any, Any] = field(default_factory=lambda: np.zeros(0, object))
    exposed: Estimate | None = None
    kept: dict[str, Estimate] = field(default_factory=dict)
    groups: dict[str, dict[str, dict[str, Estimate]]] = field(default_factory=dict)
    variety: dict[str, dict[str, Estimate]] = field(default_factory=dict)
    reversal: dict[str, Any] = field(default_factory=dict)

    @property
    def worst(self) -> dict[tuple[str, str], Figure]:
        """The figure that is worst for privacy, by attack and name."""
        return worst(self.figures)

    @property
    def strongest(self) -> Figure | None:
        """The rank-1 figure that is furthest above its chance, without attacks that have the original photo itself."""
        found = [f for f in self.figures if f.name.startswith("rank-1") and "same photo" not in f.name]
        return max((f for f in found if f.attack != "A0s"), key=lambda f: f.beyond_chance, default=None)
