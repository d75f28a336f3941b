"""What the suite found about one tool, as the attacks and measures fill it in."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from styleid.evaluate.battery import Figure, worst
from styleid.evaluate.statistics import Estimate
from styleid.evaluate.table import ToolTable


@dataclass
class Verdict:
    """Hold what was found about one tool."""

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
        """The worst figure of each attack."""
        return worst(self.figures)

    @property
    def strongest(self) -> Figure | None:
        """The rank-1 figure of the attack that finds most people from other photos of theirs, beyond its chance."""
        found = [f for f in self.figures if f.name.startswith("rank-1") and "same photo" not in f.name]
        return max((f for f in found if f.attack != "A0s"), key=lambda f: f.beyond_chance, default=None)
