"""Neutral surroundings, into which a generator of format 2 draws faces without a photo."""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8

from styleid.types import ImageRGB

PARTS = 5
"""Number of values of `styleid.pixel.guides.Part`."""


@dataclass(frozen=True, eq=False)
class Neutral:
    """The crop of a person who does not exist.

    crop: uint8 (s, s, 3), cut like the parser's crops.
    parts: part shown by each pixel, uint8 (h, w) of any size, values of `styleid.pixel.guides.Part`.
    landmarks: float32 (68, 2), pixels of the crop.
    """

    crop: ImageRGB
    parts: UInt8[np.ndarray, "h w"]
    landmarks: Float[np.ndarray, "68 2"]


def read_neutral(content: bytes | Path, side_px: int) -> Neutral:
    """Read the file that the entry `neutral` of bundle.json names.

    Args:
        content: The file's content, or its path.
        side_px: Side of the bundle's crop, pixels.

    Raises:
        ValueError: If the file cannot be read, or an array has a wrong shape, dtype or value.
    """
    try:
        with np.load(io.BytesIO(content) if isinstance(content, bytes) else content, allow_pickle=False) as file:
            crop, parts, landmarks = (np.asarray(file[name]) for name in ("crop", "parts", "landmarks"))
    except (OSError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"it cannot be read: {error}") from error
    if crop.shape != (side_px, side_px, 3) or crop.dtype != np.uint8:
        raise ValueError(f"its crop must be uint8 {(side_px, side_px, 3)}, not {crop.dtype} {crop.shape}")
    if parts.ndim != 2 or parts.dtype != np.uint8 or not parts.size or parts.max() >= PARTS:
        raise ValueError(f"its parts must be a uint8 map of values below {PARTS}, not {parts.dtype} {parts.shape}")
    if landmarks.shape != (68, 2) or landmarks.dtype != np.float32 or not np.isfinite(landmarks).all():
        raise ValueError(f"its landmarks must be 68 finite float32 points, not {landmarks.dtype} {landmarks.shape}")
    return Neutral(crop, parts, landmarks)
