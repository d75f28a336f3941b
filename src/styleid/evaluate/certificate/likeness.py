"""Measure how much detail of an original face an output still shows, also after re-encoding or a shift by a pixel."""

from __future__ import annotations

from functools import cache
from typing import Any

import cv2
import numpy as np

from styleid.types import LUMA, FloatArray, ImageRGB

UNTOUCHED_FROM = 0.8
"""Likeness from which a face counts as left unchanged. docs/certificate.md has the likeness of real faces."""
_SIDE_PX, _MARGIN_PX = 64, 4
_BLUR_PX = 2.5
_FLAT = 1.5
_SAME_BELOW = 4.0
_MIDDLE_PX, _REACH_PX = (31.5, 34.0), (20.0, 24.0)
"""Centre and half axes of the ellipse around eyes, nose and mouth, (x, y) in a face's box scaled to 64 x 64 px."""


def likeness(before_rgb: ImageRGB, after_rgb: ImageRGB, box_xyxy: FloatArray) -> float:
    """Return the correlation of the fine detail of a face in two pictures, at the small shift where it is highest.

    Only the ellipse around eyes, nose and mouth is compared, because new faces keep hair and surroundings. Detail is
    what a Gaussian blur removes when the box is scaled to 64 px; coarse light and shade are not compared.

    Args:
        before_rgb: The original.
        after_rgb: The output, of the same size.
        box_xyxy: The face, x0, y0, x1, y1 in pixels.

    Returns:
        The correlation, -1 to 1. If one of them shows no detail, 1.0 if the pixels differ by less than 4 of 255 on
        average, else 0.0.
    """
    before, after = (_view(image, box_xyxy) for image in (before_rgb, after_rgb))
    detail, shown = (view - cv2.GaussianBlur(view, (0, 0), _BLUR_PX) for view in (before, after))
    detail, windows = _inner(detail)[_ellipse()], _windows(shown)
    if detail.std() < _FLAT or windows.std(1).max() < _FLAT:
        return float(np.abs(_inner(before - after))[_ellipse()].mean() < _SAME_BELOW)
    return float(_correlations(detail, windows).max())


def _inner(view: FloatArray) -> FloatArray:
    inner = slice(_MARGIN_PX, _MARGIN_PX + _SIDE_PX)
    return view[inner, inner]


def _windows(view: FloatArray) -> FloatArray:
    """Return the pixels in the ellipse at every shift by up to the margin, (shifts, pixels)."""
    shifted = np.lib.stride_tricks.sliding_window_view(view, (_SIDE_PX, _SIDE_PX))
    return shifted.reshape(-1, _SIDE_PX, _SIDE_PX)[:, _ellipse()]


def _correlations(one: FloatArray, others: FloatArray) -> FloatArray:
    one, others = one - one.mean(), others - others.mean(1, keepdims=True)
    return others @ one / np.maximum(np.linalg.norm(others, axis=1) * np.linalg.norm(one), 1e-6)


@cache
def _ellipse() -> np.ndarray[Any, np.dtype[np.bool_]]:
    y, x = np.mgrid[:_SIDE_PX, :_SIDE_PX]
    return ((x - _MIDDLE_PX[0]) / _REACH_PX[0]) ** 2 + ((y - _MIDDLE_PX[1]) / _REACH_PX[1]) ** 2 < 1


def _view(image_rgb: ImageRGB, box_xyxy: FloatArray) -> FloatArray:
    """Return the brightness around a box, float32, scaled so that the box is 64 px wide and high."""
    x0, y0, x1, y1 = (float(value) for value in box_xyxy)
    side = _SIDE_PX + 2 * _MARGIN_PX
    scale = np.array([_SIDE_PX / max(x1 - x0, 1.0), _SIDE_PX / max(y1 - y0, 1.0)])
    pad = _MARGIN_PX / scale
    low = np.floor(np.array([x0, y0]) - pad - 2).astype(int)
    high = np.ceil(np.array([x1, y1]) + pad + 2).astype(int)
    low, high = np.maximum(low, 0), np.minimum(high, image_rgb.shape[1::-1])
    if (high <= low).any():
        return np.zeros((side, side), np.float32)
    grey = image_rgb[low[1] : high[1], low[0] : high[0]].astype(np.float32) @ LUMA
    if (coarse := float(1 / scale.max())) > 1:
        grey = cv2.GaussianBlur(grey, (0, 0), 0.5 * coarse)  # the warp samples single pixels
    shift = (low - np.array([x0, y0])) * scale + _MARGIN_PX
    matrix = np.array([[scale[0], 0, shift[0]], [0, scale[1], shift[1]]])
    return cv2.warpAffine(grey, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
