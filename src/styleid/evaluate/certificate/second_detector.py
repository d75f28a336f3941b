"""Detect faces with YuNet, as a second opinion on what the run's detector missed."""

from __future__ import annotations

from functools import cache

import numpy as np

from styleid.faces.parts import look_at_part, suppress_overlaps
from styleid.faces.yunet import YuNet
from styleid.types import FloatArray, ImageRGB

_MOST_PX = 1024
_THRESHOLD, _OVERLAP = 0.6, 0.3


def second_finds(image_rgb: ImageRGB) -> FloatArray:
    """Return the faces that YuNet finds, best first, (n, 5): boxes in pixels, clipped to the image, and scores.

    Large images are scaled to 1024 px, because YuNet misses faces that fill a larger image.
    """
    height, width = image_rgb.shape[:2]
    scale = min(1.0, _MOST_PX / max(height, width))
    seen = look_at_part(image_rgb, _yunet().look, (0, 0, width, height), scale, _THRESHOLD)
    found = suppress_overlaps(seen, _OVERLAP)
    boxes = np.clip(found.boxes_xyxy, 0, [width - 1, height - 1, width - 1, height - 1])
    rows = np.column_stack([boxes, found.scores]).astype(np.float32)
    return rows[(rows[:, 2:4] - rows[:, :2]).min(1, initial=np.inf) > 1]


@cache
def _yunet() -> YuNet:
    return YuNet()
