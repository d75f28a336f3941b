"""Run a detector on parts of an image, and merge the detections."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from jaxtyping import Bool

from styleid.types import Faces, ImageRGB

SMALLEST_SEEN_PX = 10.0
"""Size of the smallest face that CenterFace finds, in pixels of its input."""
Look = Callable[[ImageRGB, float], Faces]
"""A detector: takes a view, uint8 (height, width, 3), and a threshold; returns detections in pixels of the view."""


def look_at_part(
    image_rgb: ImageRGB, look: Look, box: tuple[int, int, int, int], scale: float, threshold: float
) -> Faces:
    """Run a detector on a scaled part of an image.

    Large faces that are cut by an inner border of the part are left out, because another part shows them whole.

    Args:
        image_rgb: The image, uint8 (height, width, 3).
        look: The detector.
        box: The part, (x0, y0, x1, y1), pixels of the image.
        scale: Pixels of the view per pixel of the image.
        threshold: Least score, between 0 and 1.

    Returns:
        The detections, in pixels of the image, in the order of the detector.
    """
    return placed(look(shown(image_rgb, box, scale), threshold), box, scale, image_rgb.shape)


def shown(image_rgb: ImageRGB, box: tuple[int, int, int, int], scale: float) -> ImageRGB:
    """Return the view of a part of an image, as `look_at_part` shows it to a detector."""
    x0, y0, x1, y1 = box
    view = image_rgb[y0:y1, x0:x1]
    size = view_size(box, scale)
    if size != (x1 - x0, y1 - y0):
        view = cv2.resize(view, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    return np.ascontiguousarray(view, np.uint8)


def view_size(box: tuple[int, int, int, int], scale: float) -> tuple[int, int]:
    """Return width and height of the view of a part of an image."""
    x0, y0, x1, y1 = box
    return max(1, round((x1 - x0) * scale)), max(1, round((y1 - y0) * scale))


def placed(faces: Faces, box: tuple[int, int, int, int], scale: float, image_shape: tuple[int, ...]) -> Faces:
    """Return the detections in a view in pixels of the image, without large faces that the part's border cuts."""
    inner = ~_cut_by_border(faces, box, scale, image_shape[:2])
    return faces[inner].moved(1.0 / scale, box[:2])


def suppress_overlaps(faces: Faces, max_overlap: float = 0.4) -> Faces:
    """Keep the best of faces that overlap (non-maximum suppression).

    Args:
        faces: The faces.
        max_overlap: Intersection over union up to which two faces are both kept.

    Returns:
        The faces that are kept, in descending order of their scores.
    """
    if len(faces) == 0:
        return faces
    corners = faces.boxes_xyxy
    boxes_xywh = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)
    above_zero = faces.scores.astype(np.float64) + 1  # OpenCV drops scores of 0, which given boxes have
    kept = cv2.dnn.NMSBoxes(boxes_xywh.tolist(), above_zero.tolist(), 0.0, max_overlap)
    return faces[np.asarray(kept, np.int64).reshape(-1)]


def tile_spans(length: int, side: int, overlap: int) -> list[tuple[int, int]]:
    """Divide a length into overlapping tiles.

    Args:
        length: The length, pixels.
        side: Side of a tile, pixels.
        overlap: Least overlap of neighbouring tiles, pixels, less than side.

    Returns:
        The first pixel of each tile and the one after its last.
    """
    if length <= side:
        return [(0, length)]
    count = int(np.ceil((length - overlap) / (side - overlap)))
    starts = np.linspace(0, length - side, count).round().astype(int)
    return [(int(start), int(start) + side) for start in starts]


def _cut_by_border(
    faces: Faces, box: tuple[int, int, int, int], scale: float, image_shape: tuple[int, ...]
) -> Bool[np.ndarray, "..."]:
    """Return which large faces are cut by a border of the tile that is not the image's border."""
    x0, y0, x1, y1 = box
    height, width = image_shape[:2]
    low = np.where([x0 > 0, y0 > 0], 1.0, -np.inf)
    high = np.where([x1 < width, y1 < height], [(x1 - x0) * scale - 2.0, (y1 - y0) * scale - 2.0], np.inf)
    touches = (faces.boxes_xyxy[:, :2] < low).any(axis=1) | (faces.boxes_xyxy[:, 2:] > high).any(axis=1)
    return touches & (faces.min_sides_px > 3 * SMALLEST_SEEN_PX)
