"""What privacy costs: swap the best units together, more and more of them, and compare orders of units.

A curve goes from no unit to all of them; at each point stand the mean changes of identity, attributes and landmarks.
The cost of an order is the area under its curve, attributes (or landmarks) over identity, as a share of the rectangle
that ends at its last point: how much else has changed on the way, whatever the pace. All orders begin and end at the
same points, so the difference of two costs is the area between their curves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from styleid.ranking.metric import CHANGES
from styleid.ranking.units import Members, UnitTable

SHARES = (0.03, 0.08, 0.15, 0.25, 0.4, 0.55, 0.7, 0.85)
"""Shares of the units at which curves are measured, between none and all."""
RANDOM_ORDERS = 3
RANKED, BASELINES = ("difference", "ratio"), ("d_id", "random")
RESAMPLES = 1000


@dataclass(frozen=True)
class Orders:
    """Orders of a table's units to compare.

    ranks: by name, the units from the first to be swapped to the last; `random 1` ... are chance. counts: how many
    units each point swaps, without the first point, where none is.
    """

    table: UnitTable
    ranks: Mapping[str, Int[np.ndarray, " units"]]
    counts: tuple[int, ...]

    @classmethod
    def of(cls, table: UnitTable, scores: Mapping[str, Float[np.ndarray, " units"]], seed: int) -> Orders:
        """Order a table's units by each score, (units,), highest first, and by chance."""
        ranks = {name: np.argsort(-scores[name], kind="stable") for name in (*RANKED, "d_id")}
        draw, units = np.random.default_rng(seed), len(table.members)
        ranks |= {f"random {k + 1}": draw.permutation(units) for k in range(RANDOM_ORDERS)}
        counts = sorted({min(units, max(1, round(share * units))) for share in SHARES} | {units})
        return cls(table, ranks, tuple(counts))

    def swaps(self) -> list[Members]:
        """Return what each point of each order swaps; the last, which all orders share, comes once, at the end."""
        members = self.table.members
        points = [
            np.sort(np.concatenate([members[unit] for unit in rank[:count]]))
            for rank in self.ranks.values()
            for count in self.counts[:-1]
        ]
        return [*points, np.sort(np.concatenate(members))]

    def curves(self, values: Float[np.ndarray, "pairs swaps 3"]) -> dict[str, Float[np.ndarray, "pairs points 3"]]:
        """Return each order's curve of each pair, (pairs, points, 3), of what `swaps` changed, (pairs, swaps, 3)."""
        inner, pairs = len(self.counts) - 1, len(values)
        none, last = np.zeros((pairs, 1, len(CHANGES))), values[:, -1:]
        parts = {name: values[:, k * inner : (k + 1) * inner] for k, name in enumerate(self.ranks)}
        return {name: np.concatenate([none, part, last], 1) for name, part in parts.items()}


@dataclass(frozen=True)
class Between:
    """Hold the area between a baseline's curve and a ranked one's, as a share of the rectangle; low, high: 95 %.

    Above 0 the ranked order changes less of everything else at the same change of identity.
    """

    value: float
    low: float
    high: float


def cost(curve: Float[np.ndarray, "*curves points 3"], utility: str = "d_attr") -> Float[np.ndarray, " *curves"]:
    """Return the area under curves, (..., points, 3): the change of utility over that of identity, as a share."""
    x, y = curve[..., 0], curve[..., CHANGES.index(utility)]
    area = (np.diff(x, axis=-1) * (y[..., 1:] + y[..., :-1]) / 2).sum(-1)
    box = x[..., -1] * y[..., -1]
    return np.divide(area, box, out=np.zeros_like(area), where=box > 0)


def between(
    curves: Mapping[str, Float[np.ndarray, "pairs points 3"]],
    ranked: str,
    baseline: str,
    utility: str = "d_attr",
    seed: int = 0,
) -> Between:
    """Compare two orders' curves, (pairs, points, 3) by name; `random` stands for the mean over the random orders.

    The interval resamples pairs.
    """
    pairs = len(curves[ranked])
    weights = np.random.default_rng(seed).multinomial(pairs, np.full(pairs, 1 / pairs), RESAMPLES) / pairs
    weights = np.concatenate([np.full((1, pairs), 1 / pairs), weights])

    def costs(names: Sequence[str]) -> Float[np.ndarray, " resamples"]:
        means = [np.tensordot(weights, curves[name].astype(np.float64), 1) for name in names]
        return np.mean([cost(mean, utility) for mean in means], 0)

    chance = [name for name in curves if name.startswith("random")]
    apart = costs(chance if baseline == "random" else [baseline]) - costs([ranked])
    low, high = np.quantile(apart[1:], [0.025, 0.975])
    return Between(float(apart[0]), float(low), float(high))
