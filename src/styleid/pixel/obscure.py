"""Obscure a face: fill, blur or pixelate an ellipse around its box."""

from __future__ import annotations

from typing import Literal, get_args

import cv2
import numpy as np
from jaxtyping import Float

from styleid.faces.align import transform_points
from styleid.pixel.masked import bounds, copy_where
from styleid.types import ImageRGB, MaskArray

Obscuring = Literal["solid", "blur", "pixelate"]
OBSCURINGS: tuple[Obscuring, ...] = get_args(Obscuring)

ENLARGE = 1.3
"""Size of the ellipse that obscures a face, relative to the ellipse inside its box."""

_SEEN_ENLARGE = 1.1
"""Size of the ellipse around another person's face that a generator does not see, relative to its box."""
_CIRCLE = np.array([(np.cos(a), np.sin(a)) for a in np.linspace(0, 2 * np.pi, 24, endpoint=False)], np.float32)
_PIXELATE_BLOCKS = 6
"""Blocks across the ellipse."""
_BLUR_OF_SIDE = 0.3
"""Twice the blur's standard deviation, as a share of the ellipse's shorter side."""


def obscure_face(
    image_rgb: ImageRGB, box_xyxy: Float[np.ndarray, " 4"], how: Obscuring, strength: float = 1.0
) -> MaskArray:
    """Obscure one face, in place.

    Args:
        image_rgb: The image, uint8 (height, width, 3); it is changed.
        box_xyxy: The face's box, (4,), pixels. An ellipse 1.3 times as large as the box is obscured.
        how: solid fills it with the mean colour around it; blur and pixelate keep coarse colours.
        strength: Coarseness of blur and blocks; 1 is usual, 2 is twice as coarse.

    Returns:
        The mask of the obscured pixels, bool (height, width).
    """
    height, width = image_rgb.shape[:2]
    mask = face_ellipse(box_xyxy, (height, width))
    part = bounds(mask)
    if part is None:
        return mask
    patch, inside = image_rgb[part], mask[part]
    side = float(min(inside.shape))
    if how == "solid":
        around = ~inside if not inside.all() else inside
        hidden = np.empty_like(patch)
        hidden[:] = np.round(cv2.mean(patch, around.view(np.uint8))[:3])
    elif how == "pixelate":
        blocks = max(1, round(_PIXELATE_BLOCKS / strength))
        size = blocks, max(1, round(blocks * patch.shape[0] / patch.shape[1]))
        small = cv2.resize(patch, size, interpolation=cv2.INTER_AREA)
        hidden = cv2.resize(small, patch.shape[1::-1], interpolation=cv2.INTER_NEAREST)
    else:
        sigma = max(1.0, side * _BLUR_OF_SIDE * strength / 2)
        hidden = cv2.GaussianBlur(patch, (0, 0), sigma, borderType=cv2.BORDER_REFLECT)
    copy_where(patch, np.asarray(hidden, np.uint8), inside)
    return mask


def face_ellipse(box_xyxy: Float[np.ndarray, " 4"], shape: tuple[int, int], enlarge: float = ENLARGE) -> MaskArray:
    """Return the mask of the ellipse inside an enlarged box.

    Args:
        box_xyxy: (4,), pixels.
        shape: Height and width of the image.
        enlarge: Scale of the box about its centre.

    Returns:
        bool (height, width); at least one pixel if the box's centre lies inside the image.
    """
    mask = np.zeros(shape, np.uint8)
    x0, y0, x1, y1 = (float(v) for v in box_xyxy)
    centre = (round((x0 + x1) / 2), round((y0 + y1) / 2))
    axes = (max(1, round((x1 - x0) / 2 * enlarge)), max(1, round((y1 - y0) / 2 * enlarge)))
    cv2.ellipse(mask, centre, axes, 0, 0, 360, 1, -1)
    return mask > 0


def ellipses_in_crop(
    boxes_xyxy: Float[np.ndarray, "n 4"],
    matrix: Float[np.ndarray, "2 3"],
    size_px: int,
    enlarge: float = _SEEN_ENLARGE,
) -> MaskArray:
    """Return the mask of the ellipses of several boxes in a crop.

    Args:
        boxes_xyxy: (n, 4), pixels of the photo.
        matrix: From the photo to the crop, (2, 3).
        size_px: Side s of the crop, pixels.
        enlarge: Scale of the ellipses about their centres.

    Returns:
        bool (s, s).
    """
    mask = np.zeros((size_px, size_px), np.uint8)
    centres = (boxes_xyxy[:, None, :2] + boxes_xyxy[:, None, 2:]) / 2
    radii = (boxes_xyxy[:, None, 2:] - boxes_xyxy[:, None, :2]) / 2 * enlarge
    outlines = transform_points((centres + radii * _CIRCLE).reshape(-1, 2).astype(np.float32), matrix)
    for outline in outlines.reshape(-1, len(_CIRCLE), 2).clip(-1e4, 1e4).round().astype(np.int32):
        cv2.fillConvexPoly(mask, outline, 1)
    return mask > 0
