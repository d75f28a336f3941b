"""Write into a part of an image where a mask is true, much faster than NumPy's boolean indices do."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

from styleid.types import MaskArray


def bounds(mask: Bool[np.ndarray, "h w"], margin: int = 0) -> tuple[slice, slice] | None:
    """Return the rows and columns of a mask's true pixels.

    Args:
        mask: bool (h, w).
        margin: Number of further rows and columns on each side, as far as the mask has them.

    Returns:
        The smallest range of rows and of columns that holds them; None if no pixel is true.
    """
    rows, columns = np.nonzero(mask.any(1))[0], np.nonzero(mask.any(0))[0]
    if len(rows) == 0:
        return None
    (y0, y1), (x0, x1) = ((max(int(at[0]) - margin, 0), int(at[-1]) + 1 + margin) for at in (rows, columns))
    return slice(y0, min(y1, mask.shape[0])), slice(x0, min(x1, mask.shape[1]))


def copy_where(target: np.ndarray, source: np.ndarray, mask: MaskArray) -> None:
    """Copy an image where a mask is true, in place: `target[mask] = source[mask]`.

    Args:
        target: (h, w) or (h, w, c), with contiguous pixels; it may be part of a larger image.
        source: The same shape and dtype.
        mask: bool (h, w).
    """
    if mask.size:
        cv2.copyTo(source, mask.view(np.uint8), target)


def to_bytes(values: Float[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h w 3"]:
    """Round and clip colours to uint8."""
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)
