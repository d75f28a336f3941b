"""Show parts of an image to a detector, and join what it sees."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from jaxtyping import Bool

from styleid.types import Faces, ImageRGB

SMALLEST_SEEN_PX = 10.0
Look = Callable[[ImageRGB, float], Faces]
"""A view, uint8 (height, width, 3), and a threshold, to what a detector sees, in pixels of the view."""


def look_at_part(
    image_rgb: ImageRGB, look: Look, box: tuple[int, int, int, int], scale: float, threshold: float
) -> Faces:
    """Show a part of an image, brought to a scale; return what is seen, in pixels of the image, best first.

    Large faces that an inner border of the part cuts are left out: another part shows them whole.
    """
    x0, y0, x1, y1 = box
    view = image_rgb[y0:y1, x0:x1]
    size = (max(1, round((x1 - x0) * scale)), max(1, round((y1 - y0) * scale)))
    if size != (x1 - x0, y1 - y0):
        view = cv2.resize(view, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    faces = look(np.ascontiguousarray(view, np.uint8), threshold)
    inner = ~_cut_by_border(faces, box, scale, image_rgb.shape[:2])
    return faces[inner].moved(1.0 / scale, (x0, y0))


def suppress_overlaps(faces: Faces, max_overlap: float = 0.4) -> Faces:
    """Keep the best of faces that overlap by more than max_overlap (intersection over union), best first."""
    if len(faces) == 0:
        return faces
    corners = faces.boxes_xyxy
    boxes_xywh = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)
    above_zero = faces.scores.astype(np.float64) + 1  # OpenCV drops scores of 0, which own boxes have
    kept = cv2.dnn.NMSBoxes(boxes_xywh.tolist(), above_zero.tolist(), 0.0, max_overlap)
    return faces[np.asarray(kept, np.int64).reshape(-1)]


def tile_spans(length: int, side: int, overlap: int) -> list[tuple[int, int]]:
    """Return first and last pixels of tiles that cover a length, each overlapping the one before."""
    if length <= side:
        return [(0, length)]
    count = int(np.ceil((length - overlap) / (side - overlap)))
    starts = np.linspace(0, length - side, count).round().astype(int)
    return [(int(start), int(start) + side) for start in starts]


def _cut_by_border(
    faces: Faces, box: tuple[int, int, int, int], scale: float, image_shape: tuple[int, ...]
) -> Bool[np.ndarray, "..."]:
    """Mark large faces that a tile's inner border cuts: a neighbouring tile or the overview sees them whole."""
    x0, y0, x1, y1 = box
    height, width = image_shape[:2]
    low = np.where([x0 > 0, y0 > 0], 1.0, -np.inf)
    high = np.where([x1 < width, y1 < height], [(x1 - x0) * scale - 2.0, (y1 - y0) * scale - 2.0], np.inf)
    touches = (faces.boxes_xyxy[:, :2] < low).any(axis=1) | (faces.boxes_xyxy[:, 2:] > high).any(axis=1)
    return touches & (faces.min_sides_px > 3 * SMALLEST_SEEN_PX)
