"""Cut faces out of images and pack them for a page."""

from __future__ import annotations

import base64

import cv2
import numpy as np
from jaxtyping import Float

from styleid.types import ImageRGB


def cut_face(image_rgb: ImageRGB, box_xyxy: Float[np.ndarray, " 4"], side_px: int, margin: float) -> ImageRGB:
    """Cut a square around a box out of an image.

    Args:
        image_rgb: The image.
        box_xyxy: x0, y0, x1, y1 in pixels of the image.
        side_px: Side of the result, in pixels.
        margin: Width of the surroundings on each side, as a share of the longer side of the box.

    Returns:
        The square, (side_px, side_px, 3). Where it exceeds the image, it is black.
    """
    side = float((box_xyxy[2:] - box_xyxy[:2]).max()) * (1 + 2 * margin)
    scale = side_px / max(side, 1.0)
    shift_x, shift_y = side_px / 2 - box_xyxy.reshape(2, 2).mean(0) * scale
    matrix = np.array([[scale, 0, shift_x], [0, scale, shift_y]])
    flags = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    tile = cv2.warpAffine(image_rgb, matrix, (side_px, side_px), flags=flags, borderMode=cv2.BORDER_CONSTANT)
    return np.asarray(tile, np.uint8)


def to_jpeg(image_rgb: ImageRGB, quality: int) -> bytes:
    """Encode an image as JPEG.

    Args:
        image_rgb: The image.
        quality: JPEG quality, 1 to 100.
    """
    image_bgr = np.ascontiguousarray(image_rgb[..., ::-1])
    return cv2.imencode(".jpg", image_bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def jpeg_url(jpeg: bytes) -> str:
    """Return a data URL that holds a JPEG."""
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"
