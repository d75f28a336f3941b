"""Boxes that users and data sets give, joined to the faces that the detector finds."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Num

from styleid.faces.detect import suppress_overlaps
from styleid.types import Faces, SearchHints

_LEAST_BOX_PX = 0.99
_LARGEST_SHARE = 1.5
"""A box without any larger number is not meant in pixels."""


def with_given(
    found: Faces, shape: tuple[int, ...], boxes_xyxy: Num[np.ndarray, "n 4"] | None, search: SearchHints | None = None
) -> Faces:
    """Return the faces found in an image of a shape, and those boxes and heads under which none was found."""
    if search is not None and len(unseen := search.unseen(found)):
        boxes_xyxy = unseen if boxes_xyxy is None else np.concatenate([boxes_xyxy, unseen])
    if boxes_xyxy is None or len(boxes_xyxy) == 0:
        return found
    boxes = boxes_inside(boxes_xyxy, shape)
    unknown = np.full((len(boxes), 5, 2), np.nan, np.float32)
    # a detection outranks the box that it overlaps, since it brings landmarks
    given = Faces(boxes, np.zeros(len(boxes), np.float32), unknown)
    return suppress_overlaps(Faces.concatenate([found, given]))


def boxes_inside(boxes_xyxy: Num[np.ndarray, "n 4"], shape: tuple[int, ...]) -> Float[np.ndarray, "n 4"]:
    """Return own boxes, (n, 4), cut off at the image's borders; raises ValueError where one cannot hold a face."""
    boxes = np.asarray(boxes_xyxy, np.float32).reshape(-1, 4)
    edges = np.array([shape[1], shape[0]] * 2, np.float32) - 0.5
    inside = np.clip(boxes, -0.5, edges)
    sides = inside[:, 2:] - inside[:, :2]
    in_shares = inside.max(1) < _LARGEST_SHARE
    for box in boxes[~(sides.min(1) >= _LEAST_BOX_PX) | in_shares]:
        raise ValueError(
            f"The box {box.tolist()} holds nothing of an image of {shape[1]} x {shape[0]} px, or less than a pixel: "
            "boxes are x0, y0, x1, y1 in pixels of the upright image."
        )
    return inside
