"""Redraw a gain map where its picture has new pixels, so that it does not show what was there before.

The map's samples in the changed area are never used. New samples are the sum of two terms: the usual sample for the
brightness of the new picture, learned where the picture did not change; and the difference of the surrounding samples
from their usual values, interpolated smoothly into the area.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

from styleid.media.formats.parse.gain_map import UNIT, GainMapNumbers
from styleid.media.formats.raster import Raster
from styleid.types import ImageRGB, MaskArray

_TONES = 16
_MARGIN_PX = 3
"""Margin around changed pixels in which samples are not used either, because lossy compression spreads pixels."""
_LEAST_KNOWN = 0.02
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


@dataclass(frozen=True, eq=False)
class GainMap:
    """A gain map to be written.

    Attributes:
        raster: Samples as stored, grey or RGB.
        numbers: How samples are converted to gains.
        icc_profile: The colour space in which gains are applied, None for the picture's own.
        encoding: How the map was compressed.
    """

    raster: Raster
    numbers: GainMapNumbers
    icc_profile: bytes | None
    encoding: Any


def redrawn(gain_map: GainMap, picture_rgb: ImageRGB, changed: MaskArray) -> GainMap:
    """Return a gain map without information about what the picture showed in its changed area.

    If almost the whole picture changed, the new map leaves the picture as it is.

    Args:
        gain_map: The gain map of the source.
        picture_rgb: uint8 (h, w, 3), the new picture as stored.
        changed: bool (h, w), where the new picture differs from the source, as stored.
    """
    if not changed.any():
        return gain_map
    height, width = gain_map.raster.size
    hidden = _shrunk(changed, (width, height))
    known = ~hidden
    samples = gain_map.raster.samples.reshape(height, width, -1)
    tones = cv2.resize(picture_rgb, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32) @ _LUMA
    made = samples.copy()
    for channel in range(samples.shape[2]):
        if known.mean() < _LEAST_KNOWN:
            made[..., channel] = _neutral(gain_map.numbers, channel)
            continue
        own = samples[..., channel]
        by_tone = _by_tone(own, tones, known)
        rest = _filled((own.astype(np.float32) - by_tone) * known, known)
        made[..., channel] = np.where(hidden, np.clip(by_tone + rest, 0, 255).round(), own)
    return replace(gain_map, raster=replace(gain_map.raster, samples=made.reshape(gain_map.raster.samples.shape)))


def _neutral(numbers: GainMapNumbers, channel: int) -> int:
    """Return the sample of a channel whose gain leaves the picture unchanged, or is nearest to that."""
    own = min(channel, numbers.channels - 1)
    low, high, gamma = numbers.low[own], numbers.high[own], numbers.gamma[own] / UNIT
    share = -low / (high - low) if high > low else 0.0
    return round(255 * min(max(share, 0.0), 1.0) ** gamma)


def _shrunk(mask: MaskArray, size: tuple[int, int]) -> Bool[np.ndarray, "h w"]:
    """Scale a mask to the size of the map; samples that cover any pixel of it, and a margin around them, are true."""
    part = cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0
    side = 2 * _MARGIN_PX + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    return cv2.dilate(part.astype(np.uint8), kernel) > 0


def _by_tone(
    samples: UInt8[np.ndarray, "h w"], tones: Float[np.ndarray, "h w"], known: Bool[np.ndarray, "h w"]
) -> Float[np.ndarray, "h w"]:
    """Return the usual sample for each tone: the median of the known samples of similar tone, interpolated."""
    bins = np.minimum(tones[known] * (_TONES / 256), _TONES - 1).astype(int)
    own = samples[known]
    filled = [tone for tone in range(_TONES) if (bins == tone).any()]
    usual = [float(np.median(own[bins == tone])) for tone in filled]
    centres = (np.array(filled) + 0.5) * (256 / _TONES)
    return np.interp(tones, centres, usual).astype(np.float32)


def _filled(values: Float[np.ndarray, "h w"], known: Bool[np.ndarray, "h w"]) -> Float[np.ndarray, "h w"]:
    """Fill unknown values, which must be 0, by interpolation from coarser and coarser scales."""
    height, width = values.shape
    if known.all() or max(height, width) == 1:
        return values
    size = max(1, width // 2), max(1, height // 2)
    share = cv2.resize(known.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    mean = cv2.resize(values, size, interpolation=cv2.INTER_AREA) / np.maximum(share, 1e-6)
    coarse = _filled(np.where(share > 0, mean, 0).astype(np.float32), share > 0)
    return np.where(known, values, cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR))
