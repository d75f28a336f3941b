"""Draw faces from W+ alone, with any bundle."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from styleid.bundles.bundle import Bundle
from styleid.types import WPlusArray


def render(bundle: Bundle, wplus: WPlusArray) -> tuple[Float[np.ndarray, "n s s 3"], Float[np.ndarray, "n 68 2"]]:
    """Return images of W+ (n, size), float32 in [0, 255], and their landmarks (n, 68, 2) in pixels of the crop."""
    return bundle.render(wplus)
