"""Hide a face without replacing it: solid, blurred or pixelated, over an ellipse about its box."""

from __future__ import annotations

from typing import Literal, get_args

import cv2
import numpy as np
from jaxtyping import Float

from styleid.faces.align import transform_points
from styleid.types import ImageRGB, MaskArray

Obscuring = Literal["solid", "blur", "pixelate"]
OBSCURINGS: tuple[Obscuring, ...] = get_args(Obscuring)

ENLARGE = 1.3
"""How much larger the ellipse that hides a face is than the one in its box."""

_SEEN_ENLARGE = 1.1
"""How much larger the ellipse is that is cut out of what a generator sees than the one in a face's box."""
_CIRCLE = np.array([(np.cos(a), np.sin(a)) for a in np.linspace(0, 2 * np.pi, 24, endpoint=False)], np.float32)
_PIXELATE_BLOCKS = 6
_BLUR_OF_SIDE = 0.3


def obscure_face(
    image_rgb: ImageRGB, box_xyxy: Float[np.ndarray, " 4"], how: Obscuring, strength: float = 1.0
) -> MaskArray:
    """Hide one face in place and return the mask of what changed, bool (height, width).

    box_xyxy: the face's box in pixels; the ellipse covers it 1.3 times enlarged. strength: 1 is the usual; at 2 blocks
    and blur are twice as coarse.
    """
    height, width = image_rgb.shape[:2]
    mask = face_ellipse(box_xyxy, (height, width))
    rows, columns = np.nonzero(mask.any(1))[0], np.nonzero(mask.any(0))[0]
    if len(rows) == 0:
        return mask
    y0, y1, x0, x1 = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    patch, inside = image_rgb[y0:y1, x0:x1], mask[y0:y1, x0:x1]
    side = float(min(y1 - y0, x1 - x0))
    if how == "solid":
        around = patch[~inside] if (~inside).any() else patch.reshape(-1, 3)
        hidden = np.broadcast_to(around.mean(0).round().astype(np.uint8), patch.shape)
    elif how == "pixelate":
        blocks = max(1, round(_PIXELATE_BLOCKS / strength))
        size = blocks, max(1, round(blocks * patch.shape[0] / patch.shape[1]))
        small = cv2.resize(patch, size, interpolation=cv2.INTER_AREA)
        hidden = cv2.resize(small, patch.shape[1::-1], interpolation=cv2.INTER_NEAREST)
    else:
        sigma = max(1.0, side * _BLUR_OF_SIDE * strength / 2)
        hidden = cv2.GaussianBlur(patch, (0, 0), sigma, borderType=cv2.BORDER_REFLECT)
    patch[inside] = hidden[inside]
    return mask


def face_ellipse(box_xyxy: Float[np.ndarray, " 4"], shape: tuple[int, int], enlarge: float = ENLARGE) -> MaskArray:
    """Return the ellipse that a box enlarged about its centre holds, bool (height, width).

    It is never empty inside the image.
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
    """Return where boxes' ellipses, enlarged, lie in a crop, bool (size_px, size_px).

    matrix: from the photo to the crop.
    """
    mask = np.zeros((size_px, size_px), np.uint8)
    centres = (boxes_xyxy[:, None, :2] + boxes_xyxy[:, None, 2:]) / 2
    radii = (boxes_xyxy[:, None, 2:] - boxes_xyxy[:, None, :2]) / 2 * enlarge
    outlines = transform_points((centres + radii * _CIRCLE).reshape(-1, 2).astype(np.float32), matrix)
    for outline in outlines.reshape(-1, len(_CIRCLE), 2).clip(-1e4, 1e4).round().astype(np.int32):
        cv2.fillConvexPoly(mask, outline, 1)
    return mask > 0
