"""Helpers for soft masks (float32 maps in [0, 1]): blur, smooth step, and distance to the edge."""

from __future__ import annotations

from typing import overload

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

from styleid.types import FloatArray


def blurred(image: Float[np.ndarray, "h w *c"], sigma: float) -> Float[np.ndarray, "h w *c"]:
    """Blur a map or image with a Gaussian.

    Args:
        image: (h, w) or (h, w, c).
        sigma: Standard deviation, pixels.
    """
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), np.float32)


@overload
def ramp(values: FloatArray, low: float, high: float) -> FloatArray: ...
@overload
def ramp(values: np.floating, low: float, high: float) -> np.floating: ...
def ramp(values: FloatArray | np.floating, low: float, high: float) -> FloatArray | np.floating:
    """Return 0 for values up to low, 1 from high on, and a smooth step (3t^2 - 2t^3) in between."""
    t = np.clip((values - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def depth_inside(mask: Bool[np.ndarray, "h w"] | UInt8[np.ndarray, "h w"]) -> Float[np.ndarray, "h w"]:
    """Return the distance of each pixel's centre from the edge of a mask.

    Args:
        mask: (h, w); non-zero is inside.

    Returns:
        (h, w), pixels, positive inside and negative outside.
    """
    inside, outside = (cv2.distanceTransform(part.astype(np.uint8), cv2.DIST_L2, 5) for part in (mask > 0, mask == 0))
    return np.where(mask > 0, inside - 0.5, 0.5 - outside)
