"""Scale a new face from its crop's resolution to the photo's."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any, TypeVar

import cv2
import numpy as np
from jaxtyping import Float

from styleid.faces.align import scale_of

T = TypeVar("T")
_LEAST_PX = 160
"""Side below which crops are usually not averaged down."""


def at_photo_scale(
    face: T, size_px: int, matrix: Float[np.ndarray, "2 3"], least_px: int = _LEAST_PX
) -> tuple[T, Float[np.ndarray, "2 3"]]:
    """Average a face down to about the photo's resolution.

    A crop that is much finer than the photo would alias when it is sampled, and take longer.

    Args:
        face: A dataclass with images (s, s) or (s, s, c) and points (k, 2), in pixels of a crop of side s = size_px.
            Other fields do not change.
        size_px: Side of the crop, pixels.
        matrix: From the photo to the crop, (2, 3).
        least_px: Side below which the crop is not averaged down, pixels.

    Returns:
        The face at the new scale, and its matrix from the photo to the crop. Both unchanged if the crop is already at
        most as fine as the photo.
    """
    side = max(least_px, round(size_px / scale_of(matrix)))
    if side >= size_px:
        return face, matrix
    share = side / size_px
    changed: dict[str, Any] = {}
    for field in fields(face):  # type: ignore[arg-type]
        value = getattr(face, field.name)
        if not isinstance(value, np.ndarray):
            continue
        if value.shape[:2] == (size_px, size_px):
            changed[field.name] = cv2.resize(value, (side, side), interpolation=cv2.INTER_AREA)
        elif value.ndim == 2 and value.shape[1] == 2:
            changed[field.name] = ((value + 0.5) * share - 0.5).astype(value.dtype)
    return replace(face, **changed), scaled_matrix(matrix, share)  # type: ignore[type-var]


def scaled_matrix(matrix: Float[np.ndarray, "2 3"], share: float) -> Float[np.ndarray, "2 3"]:
    """Return the matrix from the photo to a crop whose side is multiplied by share, (2, 3)."""
    return np.column_stack([matrix[:, :2] * share, (matrix[:, 2] + 0.5) * share - 0.5])
