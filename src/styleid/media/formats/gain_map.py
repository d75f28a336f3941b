"""Redraw a gain map where its picture has new pixels, so that it shows nothing of what was there.

The map is at hand where nothing changed. There, gains are learnt as a function of brightness; inside, that function of
the new picture's brightness, and what the surroundings differ from it, carried smoothly inwards, give the new gains.
Samples inside are never read.
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
"""How far around changed pixels samples are not believed: lossy compression spreads them."""
_LEAST_KNOWN = 0.02
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


@dataclass(frozen=True, eq=False)
class GainMap:
    """Hold a gain map as it is to be written.

    raster: its samples, as stored, grey or RGB. numbers: how they become gains. icc_profile: the colour space that it
    applies in, where that is not the picture's own. encoding: how it was compressed.
    """

    raster: Raster
    numbers: GainMapNumbers
    icc_profile: bytes | None
    encoding: Any


def redrawn(gain_map: GainMap, picture_rgb: ImageRGB, changed: MaskArray) -> GainMap:
    """Return a gain map that tells nothing of what a picture showed where it was changed.

    Where hardly anything is unchanged, nothing is known of gains: then the map changes nothing of the picture.

    Args:
        gain_map: The source's.
        picture_rgb: uint8 (h, w, 3), the new picture as stored.
        changed: bool (h, w), where it shows something else than the source, as stored.
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
    """Return the sample of a channel that leaves the picture as it is, or the nearest to it."""
    own = min(channel, numbers.channels - 1)
    low, high, gamma = numbers.low[own], numbers.high[own], numbers.gamma[own] / UNIT
    share = -low / (high - low) if high > low else 0.0
    return round(255 * min(max(share, 0.0), 1.0) ** gamma)


def _shrunk(mask: MaskArray, size: tuple[int, int]) -> Bool[np.ndarray, "h w"]:
    """Return which samples of a smaller map any pixel of a mask falls into, and their neighbours."""
    part = cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0
    side = 2 * _MARGIN_PX + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    return cv2.dilate(part.astype(np.uint8), kernel) > 0


def _by_tone(
    samples: UInt8[np.ndarray, "h w"], tones: Float[np.ndarray, "h w"], known: Bool[np.ndarray, "h w"]
) -> Float[np.ndarray, "h w"]:
    """Return the sample that each tone usually has, learnt where samples are known."""
    bins = np.minimum(tones[known] * (_TONES / 256), _TONES - 1).astype(int)
    own = samples[known]
    filled = [tone for tone in range(_TONES) if (bins == tone).any()]
    usual = [float(np.median(own[bins == tone])) for tone in filled]
    centres = (np.array(filled) + 0.5) * (256 / _TONES)
    return np.interp(tones, centres, usual).astype(np.float32)


def _filled(values: Float[np.ndarray, "h w"], known: Bool[np.ndarray, "h w"]) -> Float[np.ndarray, "h w"]:
    """Return values with the unknown ones, which must be 0, filled from those around, the smoother the farther away."""
    height, width = values.shape
    if known.all() or max(height, width) == 1:
        return values
    size = max(1, width // 2), max(1, height // 2)
    share = cv2.resize(known.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    mean = cv2.resize(values, size, interpolation=cv2.INTER_AREA) / np.maximum(share, 1e-6)
    coarse = _filled(np.where(share > 0, mean, 0).astype(np.float32), share > 0)
    return np.where(known, values, cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR))
