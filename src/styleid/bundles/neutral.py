"""The surroundings of nobody that a bundle brings, for whatever draws from W+ alone."""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8

from styleid.types import ImageRGB

PARTS = 5
"""How many values `styleid.pixel.guides.Part` has."""


@dataclass(frozen=True, eq=False)
class Neutral:
    """Hold a person who never lived.

    crop: uint8 (s, s, 3), as the parser sees faces. parts: uint8 (h, w), values of `styleid.pixel.guides.Part`, at any
    side. landmarks: float32 (68, 2), pixels of the crop.
    """

    crop: ImageRGB
    parts: UInt8[np.ndarray, "h w"]
    landmarks: Float[np.ndarray, "68 2"]


def read_neutral(content: bytes | Path, side_px: int) -> Neutral:
    """Read the file that `neutral` of bundle.json names; raises ValueError where it is none of a crop of this side."""
    try:
        with np.load(io.BytesIO(content) if isinstance(content, bytes) else content, allow_pickle=False) as file:
            crop, parts, landmarks = (np.asarray(file[name]) for name in ("crop", "parts", "landmarks"))
    except (OSError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"it cannot be read: {error}") from error
    if crop.shape != (side_px, side_px, 3) or crop.dtype != np.uint8:
        raise ValueError(f"its crop is {crop.dtype} {crop.shape}, not uint8 {(side_px, side_px, 3)}")
    if parts.ndim != 2 or parts.dtype != np.uint8 or not parts.size or parts.max() >= PARTS:
        raise ValueError(f"its parts are {parts.dtype} {parts.shape}, not a map of uint8 below {PARTS}")
    if landmarks.shape != (68, 2) or landmarks.dtype != np.float32 or not np.isfinite(landmarks).all():
        raise ValueError(f"its landmarks are {landmarks.dtype} {landmarks.shape}, not 68 finite points of float32")
    return Neutral(crop, parts, landmarks)
