"""Curves of privacy against utility: swap more and more of the best units together, and compare orders of units.

A curve goes from no unit to all units; each point has the mean changes of identity, attributes and landmarks. The cost
of an order is the area under its curve (attributes or landmarks over identity), as a share of the rectangle that ends
at its last point. All orders begin and end at the same points, so the difference of two costs is the area between their
curves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from styleid.ranking.metric import CHANGES
from styleid.ranking.units import Members, UnitTable

SHARES = (0.03, 0.08, 0.15, 0.25, 0.4, 0.55, 0.7, 0.85)
"""Shares of the units that are swapped at the inner points of a curve."""
RANDOM_ORDERS = 3
"""Number of random orders."""
RANKED, BASELINES = ("difference", "ratio"), ("d_id", "random")
"""Orders that are compared, and the baselines that they are compared with."""
RESAMPLES = 1000
"""Number of bootstrap samples."""


@dataclass(frozen=True)
class Orders:
    """Orders of a table's units that are compared.

    table: the units.
    ranks: for each order, the units' indices from the first that is swapped to the last; `random 1` and so on are
        random orders.
    counts: number of units that are swapped at each point, without the first point, where it is 0.
    """

    table: UnitTable
    ranks: Mapping[str, Int[np.ndarray, " units"]]
    counts: tuple[int, ...]

    @classmethod
    def of(cls, table: UnitTable, scores: Mapping[str, Float[np.ndarray, " units"]], seed: int) -> Orders:
        """Order units by each score and at random.

        Args:
            table: The units.
            scores: Scores by name, (units,) each; the highest comes first.
            seed: Seed of the random orders.
        """
        ranks = {name: np.argsort(-scores[name], kind="stable") for name in (*RANKED, "d_id")}
        draw, units = np.random.default_rng(seed), len(table.members)
        ranks |= {f"random {k + 1}": draw.permutation(units) for k in range(RANDOM_ORDERS)}
        counts = sorted({min(units, max(1, round(share * units))) for share in SHARES} | {units})
        return cls(table, ranks, tuple(counts))

    def swaps(self) -> list[Members]:
        """Return what each point of each order swaps. The last point, which all orders share, is the last element."""
        members = self.table.members
        points = [
            np.sort(np.concatenate([members[unit] for unit in rank[:count]]))
            for rank in self.ranks.values()
            for count in self.counts[:-1]
        ]
        return [*points, np.sort(np.concatenate(members))]

    def curves(self, values: Float[np.ndarray, "pairs swaps 3"]) -> dict[str, Float[np.ndarray, "pairs points 3"]]:
        """Return the curves of each order.

        Args:
            values: What the swaps of `swaps` changed, (pairs, swaps, 3).

        Returns:
            By the order's name, (pairs, points, 3).
        """
        inner, pairs = len(self.counts) - 1, len(values)
        none, last = np.zeros((pairs, 1, len(CHANGES))), values[:, -1:]
        parts = {name: values[:, k * inner : (k + 1) * inner] for k, name in enumerate(self.ranks)}
        return {name: np.concatenate([none, part, last], 1) for name, part in parts.items()}


@dataclass(frozen=True)
class Between:
    """The cost of a baseline minus the cost of an order.

    If it is positive, the order changes less of everything else at the same change of identity.

    value: the difference, as a share of the rectangle.
    low: lower end of the 95 % confidence interval.
    high: its upper end.
    """

    value: float
    low: float
    high: float


def cost(curve: Float[np.ndarray, "*curves points 3"], utility: str = "d_attr") -> Float[np.ndarray, " *curves"]:
    """Return the cost of curves.

    Args:
        curve: (..., points, 3), in the order of `CHANGES`.
        utility: The change that is plotted over identity, d_attr or landmarks.

    Returns:
        (...), the area under the curve as a share of the rectangle that ends at its last point.
    """
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
    """Compare the costs of two orders. The confidence interval comes from resampling pairs.

    Args:
        curves: By the order's name, (pairs, points, 3).
        ranked: Name of the order.
        baseline: Name of the baseline; `random` is the mean over the random orders.
        utility: The change that is plotted over identity, d_attr or landmarks.
        seed: Seed of the resampling.
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
