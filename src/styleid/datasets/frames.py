"""Transform boxes between a photo's stored pixels and the upright photo.

Convention
----------
Boxes here are (x0, y0, x1, y1) of their **edges**: a photo reaches from 0 to its width and from 0 to its height, as in
COCO's files. In `styleid.types`, pixel centres are at integers: coordinates are half a pixel less (`to_centres`,
`to_edges`).
"""

from __future__ import annotations

import numpy as np

from styleid.types import FloatArray

_TURNED = (5, 6, 7, 8)


def stored_size(width: int, height: int, orientation: int) -> tuple[int, int]:
    """Return the stored width and height of a photo, given the upright ones, or the other way round."""
    return (height, width) if orientation in _TURNED else (width, height)


def to_upright(boxes: FloatArray, stored_wh: tuple[int, int], orientation: int) -> FloatArray:
    """Transform boxes from a photo's stored pixels to the upright photo.

    Args:
        boxes: (n, 4), edges, in stored pixels.
        stored_wh: Width and height as stored.
        orientation: EXIF's orientation, 1 to 8.

    Returns:
        (n, 4), edges, in pixels of the upright photo.
    """
    if orientation in _TURNED:
        boxes, stored_wh = boxes[:, [1, 0, 3, 2]], (stored_wh[1], stored_wh[0])
    mirrored_x, mirrored_y = orientation in (2, 3, 6, 7), orientation in (3, 4, 7, 8)
    return _mirrored(boxes, stored_wh, mirrored_x, mirrored_y)


def to_stored(boxes: FloatArray, stored_wh: tuple[int, int], orientation: int) -> FloatArray:
    """Transform boxes from the upright photo to its stored pixels; the inverse of `to_upright`."""
    upright_wh = stored_size(*stored_wh, orientation)
    inverse = {6: 8, 8: 6}.get(orientation, orientation)
    return to_upright(boxes, upright_wh, inverse)


def to_centres(boxes: FloatArray) -> FloatArray:
    """Convert boxes of edges to boxes of pixel centres."""
    return boxes - 0.5


def to_edges(boxes: FloatArray) -> FloatArray:
    """Convert boxes of pixel centres to boxes of edges."""
    return boxes + 0.5


def _mirrored(boxes: FloatArray, size_wh: tuple[int, int], x: bool, y: bool) -> FloatArray:
    moved = np.array(boxes, np.float64)
    if x:
        moved[:, [0, 2]] = size_wh[0] - moved[:, [2, 0]]
    if y:
        moved[:, [1, 3]] = size_wh[1] - moved[:, [3, 1]]
    return moved
