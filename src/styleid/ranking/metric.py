"""The disentanglement metric: what a swap changes, and the scores that follow from it (StyleID, section on ranking).

Changes are three numbers per face: of identity, || F(x) - F(x') ||; of attributes, || A(x) - A(x') ||; of landmarks,
their mean distance in inter-ocular distances. F is the recogniser, A the attributes (`styleid.ranking.probe`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from styleid.faces import geometry

CHANGES = ("d_id", "d_attr", "landmarks")
"""Names of the changes, in their order along the last axis of arrays."""
_ROUNDING = 1e-4
"""Range of changes up to which they count as equal; two measurements of one face differ by as much."""
_LEAST_CHANGE = 1e-3
"""Added to the change of attributes in the ratio, so that a unit that changes nothing does not get a high score."""


@dataclass(frozen=True)
class Readings:
    """Measurements of n faces.

    embeddings: unit embeddings, (n, d).
    attributes: attributes, (n, a), each in standard deviations over the sources.
    landmarks: (n, 68, 2), pixels.
    """

    embeddings: Float[np.ndarray, "n d"]
    attributes: Float[np.ndarray, "n a"]
    landmarks: Float[np.ndarray, "n 68 2"]

    def __getitem__(self, index: Int[np.ndarray, " k"] | slice) -> Readings:
        return Readings(self.embeddings[index], self.attributes[index], self.landmarks[index])

    def __len__(self) -> int:
        return len(self.embeddings)


def changes(before: Readings, after: Readings) -> Float[np.ndarray, "n 3"]:
    """Return the changes of each face, (n, 3), in the order of `CHANGES`."""
    identity = np.linalg.norm(after.embeddings - before.embeddings, axis=1)
    attributes = np.linalg.norm(after.attributes - before.attributes, axis=1)
    return np.stack([identity, attributes, geometry.landmark_error(after.landmarks, before.landmarks)], 1)


def min_max(values: Float[np.ndarray, " *table"]) -> Float[np.ndarray, " *table"]:
    """Scale a table linearly to [0, 1] by its minimum and maximum; NaN stays.

    If all values are equal up to rounding, the result is 0.
    """
    low, high = np.nanmin(values), np.nanmax(values)
    return (values - low) / (high - low) if high - low > _ROUNDING else np.where(np.isnan(values), np.nan, 0.0)


def difference(
    d_id: Float[np.ndarray, " *table"], d_attr: Float[np.ndarray, " *table"]
) -> Float[np.ndarray, " *table"]:
    """Return the difference score h(d_id) - h(d_attr), where h is `min_max`."""
    return min_max(d_id) - min_max(d_attr)


def ratio(d_id: Float[np.ndarray, " *table"], d_attr: Float[np.ndarray, " *table"]) -> Float[np.ndarray, " *table"]:
    """Return the ratio score d_id / (d_attr + 0.001)."""
    return d_id / (d_attr + _LEAST_CHANGE)


def spearman(a: Float[np.ndarray, " *table"], b: Float[np.ndarray, " *table"]) -> float:
    """Return Spearman's rank correlation of two tables.

    Ties get their mean rank; cells with NaN are left out. The result is NaN if a table is constant.
    """
    known = np.isfinite(a) & np.isfinite(b)
    x, y = _ranks(a[known]), _ranks(b[known])
    x, y = x - x.mean(), y - y.mean()
    scale = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / scale if scale > 0 else float("nan")


def _ranks(values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return ((ends - counts + ends - 1) / 2)[place]
