"""Say how much of a face's detail an output still shows, also where it was encoded again or moved by a pixel."""

from __future__ import annotations

import cv2
import numpy as np

from styleid.types import LUMA, FloatArray, ImageRGB

UNTOUCHED_FROM = 0.75
"""Likeness from which a face counts as left as it was: see `benchmarks/rigged_runs.py` for how faces lie about it."""
_SIDE_PX, _MARGIN_PX = 64, 4
_BLUR_PX = 2.5
_FLAT = 1.5
_SAME_BELOW = 4.0


def likeness(before_rgb: ImageRGB, after_rgb: ImageRGB, box_xyxy: FloatArray) -> float:
    """Return the correlation of fine detail inside a box, -1 to 1, at whichever small shift it is highest.

    Both pictures have one size. Detail is what a Gaussian blur takes away at a face's side of 64 px; coarse light and
    shade, which new faces keep, do not count. Where the original shows no detail, 1 stands for pixels that differ by
    less than 4 of 255 on average, and 0 for others.
    """
    before, after = (_view(image, box_xyxy) for image in (before_rgb, after_rgb))
    inner = slice(_MARGIN_PX, _MARGIN_PX + _SIDE_PX)
    detail, shown = (view - cv2.GaussianBlur(view, (0, 0), _BLUR_PX) for view in (before, after))
    detail = np.ascontiguousarray(detail[inner, inner])
    if detail.std() < _FLAT or shown.std() < _FLAT:
        return float(np.abs(before - after)[inner, inner].mean() < _SAME_BELOW)
    return float(np.nan_to_num(cv2.matchTemplate(shown, detail, cv2.TM_CCOEFF_NORMED)).max())


def _view(image_rgb: ImageRGB, box_xyxy: FloatArray) -> FloatArray:
    """Return the brightness about a box, float32, so that the box is 64 px wide and high."""
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
        grey = cv2.GaussianBlur(grey, (0, 0), 0.5 * coarse)  # the warp takes single pixels, so what lies between counts
    shift = (low - np.array([x0, y0])) * scale + _MARGIN_PX
    matrix = np.array([[scale[0], 0, shift[0]], [0, scale[1], shift[1]]])
    return cv2.warpAffine(grey, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
