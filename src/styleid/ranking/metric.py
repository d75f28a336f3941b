"""The disentanglement metric: what a swapped unit changes, and how that becomes a score (StyleID, section on ranking).

Changes are three numbers per face: of identity, || F(x) - F(x') ||; of attributes, || A(x) - A(x') ||, each face's own
norm; and of landmarks, the mean distance in inter-ocular distances.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from styleid.faces import geometry

CHANGES = ("d_id", "d_attr", "landmarks")
_ROUNDING = 1e-4
"""Changes that lie closer together than this are one: a face that is measured twice differs by as much."""
_LEAST_CHANGE = 1e-3
"""What the ratio adds to the change of attributes, so that a unit that changes nothing is no good unit."""


@dataclass(frozen=True)
class Readings:
    """What is seen of n faces.

    embeddings: (n, d), unit length. attributes: (n, a), in deviations of the sources. landmarks: (n, 68, 2) pixels.
    """

    embeddings: Float[np.ndarray, "n d"]
    attributes: Float[np.ndarray, "n a"]
    landmarks: Float[np.ndarray, "n 68 2"]

    def __getitem__(self, index: Int[np.ndarray, " k"] | slice) -> Readings:
        return Readings(self.embeddings[index], self.attributes[index], self.landmarks[index])

    def __len__(self) -> int:
        return len(self.embeddings)


def changes(before: Readings, after: Readings) -> Float[np.ndarray, "n 3"]:
    """Return each face's changes, (n, 3) in the order of `CHANGES`."""
    identity = np.linalg.norm(after.embeddings - before.embeddings, axis=1)
    attributes = np.linalg.norm(after.attributes - before.attributes, axis=1)
    return np.stack([identity, attributes, geometry.landmark_error(after.landmarks, before.landmarks)], 1)


def min_max(values: Float[np.ndarray, " *table"]) -> Float[np.ndarray, " *table"]:
    """Bring a whole table, of any shape, to [0, 1] by its one minimum and its one maximum; NaN stays.

    A table of changes that differ by rounding alone comes to 0.
    """
    low, high = np.nanmin(values), np.nanmax(values)
    return (values - low) / (high - low) if high - low > _ROUNDING else np.where(np.isnan(values), np.nan, 0.0)


def difference(
    d_id: Float[np.ndarray, " *table"], d_attr: Float[np.ndarray, " *table"]
) -> Float[np.ndarray, " *table"]:
    """Score a table by h(d_id) - h(d_attr), h being min-max over the table."""
    return min_max(d_id) - min_max(d_attr)


def ratio(d_id: Float[np.ndarray, " *table"], d_attr: Float[np.ndarray, " *table"]) -> Float[np.ndarray, " *table"]:
    """Score a table by d_id / d_attr, with a thousandth added below."""
    return d_id / (d_attr + _LEAST_CHANGE)


def spearman(a: Float[np.ndarray, " *table"], b: Float[np.ndarray, " *table"]) -> float:
    """Return Spearman's rank correlation of two tables, ties at their mean rank; NaN where one is constant."""
    known = np.isfinite(a) & np.isfinite(b)
    x, y = _ranks(a[known]), _ranks(b[known])
    x, y = x - x.mean(), y - y.mean()
    scale = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / scale if scale > 0 else float("nan")


def _ranks(values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return ((ends - counts + ends - 1) / 2)[place]
