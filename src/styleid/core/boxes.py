"""Merge boxes from users and data sets with the faces that the detector found."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Num

from styleid.faces.detect import suppress_overlaps
from styleid.types import Faces, SearchHints

_LEAST_BOX_PX = 0.99
"""Shortest side of a valid box inside the image; one pixel, with room for rounding."""
_LARGEST_SHARE = 1.5
"""A box whose coordinates all lie below this is refused: it is probably given as shares of the image's size."""


def with_given_boxes(
    found: Faces, shape: tuple[int, ...], boxes_xyxy: Num[np.ndarray, "n 4"] | None, search: SearchHints | None = None
) -> Faces:
    """Add the boxes and heads in which no face was found to the faces that were found.

    Args:
        found: The faces that the detector found.
        shape: Shape of the image, beginning with height and width.
        boxes_xyxy: Further faces, (n, 4), pixels; None for none.
        search: Head boxes; None for none.

    Returns:
        The faces. Those of added boxes have the score 0 and no landmarks.

    Raises:
        ValueError: If a box is not finite or covers less than a pixel of the image.
    """
    if search is not None and len(unseen := search.unseen(found)):
        boxes_xyxy = unseen if boxes_xyxy is None else np.concatenate([boxes_xyxy, unseen])
    if boxes_xyxy is None or len(boxes_xyxy) == 0:
        return found
    boxes = boxes_inside(boxes_xyxy, shape)
    unknown = np.full((len(boxes), 5, 2), np.nan, np.float32)
    # with score 0, a box is removed by a detection that it overlaps: the detection has landmarks
    given = Faces(boxes, np.zeros(len(boxes), np.float32), unknown)
    return suppress_overlaps(Faces.concatenate([found, given]))


def boxes_inside(boxes_xyxy: Num[np.ndarray, "n 4"], shape: tuple[int, ...]) -> Float[np.ndarray, "n 4"]:
    """Return boxes cut off at the borders of an image.

    Args:
        boxes_xyxy: (n, 4), pixels.
        shape: Shape of the image, beginning with height and width.

    Returns:
        The boxes inside the image, (n, 4), float32.

    Raises:
        ValueError: If a box is not finite, covers less than a pixel of the image, or seems to be given in shares.
    """
    boxes = np.asarray(boxes_xyxy, np.float32).reshape(-1, 4)
    edges = np.array([shape[1], shape[0]] * 2, np.float32) - 0.5
    inside = np.clip(boxes, -0.5, edges)
    sides = inside[:, 2:] - inside[:, :2]
    in_shares = inside.max(1) < _LARGEST_SHARE
    for box in boxes[~(sides.min(1) >= _LEAST_BOX_PX) | in_shares]:
        raise ValueError(
            f"The box {box.tolist()} covers less than a pixel of an image of {shape[1]} x {shape[0]} px. Give boxes as "
            "x0, y0, x1, y1 in pixels of the upright image."
        )
    return inside
