"""One generated face."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True, eq=False)
class Drawing:
    """A generated face, before it is composited.

    image: the image, float32 (g, g, 3) in [0, 255], g the generator's side.
    landmarks: (68, 2), pixels of the bundle's crop.
    region: opacity of the face, (g, g), 0 to 1, from `guides.opacity`; None for bundles of format 1, whose generators
        do not see the photo.
    cover: see `NewFace.cover`.
    """

    image: Float[np.ndarray, "g g 3"]
    landmarks: Float[np.ndarray, "68 2"]
    region: Float[np.ndarray, "g g"] | None = None
    cover: float | None = None
