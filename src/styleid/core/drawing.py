"""One generated face, as the generator drew it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True, eq=False)
class Drawing:
    """Hold a generated face.

    image: float32 (g, g, 3) in [0, 255], at the generator's side. landmarks: (68, 2) pixels of the bundle's crop.
    region: (g, g) in [0, 1], how opaque the face is where the generator filled the crop, as `guides.opacity` gives it;
    None for a generator that does not see the photo.
    cover: how far beyond its outline the face goes over what lies before it, as `NewFace` takes it.
    """

    image: Float[np.ndarray, "g g 3"]
    landmarks: Float[np.ndarray, "68 2"]
    region: Float[np.ndarray, "g g"] | None = None
    cover: float | None = None
