"""What is measured of one face: the protocol that the gate takes, and the same as plain data.

`LazyObservation` in `styleid.core.measurement` measures a finished face as far as it is asked; tests and journals can
give the gate an `Observation` that holds plain values.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from jaxtyping import Float

from styleid.faces import geometry

# Type checkers do not accept a cached_property where a protocol asks for a property; at run time it is one.
if TYPE_CHECKING:
    lazy_property = property
else:
    from functools import cached_property as lazy_property


class Observed(Protocol):
    """One face, measured: what the gate compares."""

    @property
    def found(self) -> bool:
        """Whether the detector sees a face."""
        ...

    @property
    def landmarks(self) -> Float[np.ndarray, "68 2"]:
        """Landmarks, (68, 2) pixels of the crop."""
        ...

    @property
    def embedding(self) -> Float[np.ndarray, " d"]:
        """The embedding, (d,), unit length."""
        ...

    @property
    def attributes(self) -> Float[np.ndarray, "7"]:
        """Age in years, P(female), P(group) x 5."""
        ...

    @property
    def face_shares(self) -> tuple[float, float]:
        """See `Observation`."""
        ...

    @property
    def expression(self) -> geometry.Expression:
        """Pose and expression, read off the landmarks."""
        ...


@dataclass(frozen=True)
class Observation:
    """Hold what was measured of one face.

    found: whether the detector sees a face there. landmarks: (68, 2) pixels of the crop. embedding: (d,), unit length.
    attributes: age in years, P(female), P(group) x 5. face_shares: the share of the original's bare face that the
    parser labels as bare face, 0 to 1, with the upper forehead and without.
    """

    found: bool
    landmarks: Float[np.ndarray, "68 2"]
    embedding: Float[np.ndarray, " d"]
    attributes: Float[np.ndarray, "7"]
    face_shares: tuple[float, float] = (1.0, 1.0)

    @lazy_property
    def expression(self) -> geometry.Expression:
        """Pose and expression, read off the landmarks."""
        return geometry.expression(self.landmarks)
