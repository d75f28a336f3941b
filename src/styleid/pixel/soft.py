"""Soft masks: float32 maps in [0, 1], and what makes them."""

from __future__ import annotations

import cv2
import numpy as np

from styleid.types import FloatArray


def blurred(image: FloatArray, sigma: float) -> FloatArray:
    """Return a map (h, w) or image (h, w, c) blurred by a Gaussian of so many pixels."""
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), np.float32)


def ramp(values: FloatArray, low: float, high: float) -> FloatArray:
    """Return 0 up to low, 1 from high on, and a smooth step between."""
    t = np.clip((values - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)
