"""Measurements of one face: the protocol that the gate reads, and a plain data class that fulfils it.

`LazyObservation` in `styleid.core.measurement` fulfils it, too; it measures each value when it is first read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from jaxtyping import Float

from styleid.faces import geometry

# A cached_property fulfils a protocol's property at run time, but type checkers reject it.
if TYPE_CHECKING:
    lazy_property = property
else:
    from functools import cached_property as lazy_property


class Observed(Protocol):
    """The measurements of one face that the gate compares."""

    @property
    def found(self) -> bool:
        """Whether the detector finds a face."""
        ...

    @property
    def landmarks(self) -> Float[np.ndarray, "68 2"]:
        """Landmarks, (68, 2), pixels of the crop."""
        ...

    @property
    def embedding(self) -> Float[np.ndarray, " d"]:
        """Unit embedding, (d,)."""
        ...

    @property
    def attributes(self) -> Float[np.ndarray, "7"]:
        """Age in years, P(female), P(group) for five groups, (7,)."""
        ...

    @property
    def face_shares(self) -> tuple[float, float]:
        """Shares of the original's bare face that are labelled as face; see `Observation`."""
        ...

    @property
    def expression(self) -> geometry.Expression:
        """Pose and expression, computed from the landmarks."""
        ...


@dataclass(frozen=True)
class Observation:
    """Measurements of one face.

    found: whether the detector finds a face.
    landmarks: (68, 2), pixels of the crop.
    embedding: unit embedding, (d,).
    attributes: age in years, P(female), P(group) for White, Black, Asian, Indian and other, (7,).
    face_shares: shares of the original's bare face that the parser labels as face, 0 to 1: of the whole face, and
        without the upper forehead.
    """

    found: bool
    landmarks: Float[np.ndarray, "68 2"]
    embedding: Float[np.ndarray, " d"]
    attributes: Float[np.ndarray, "7"]
    face_shares: tuple[float, float] = (1.0, 1.0)

    @lazy_property
    def expression(self) -> geometry.Expression:
        """Pose and expression, computed from the landmarks."""
        return geometry.expression(self.landmarks)
