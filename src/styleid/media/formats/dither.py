"""Write new pixels into pictures of few colours, such as faxes and newspaper screens, with these colours only.

Smooth new pixels are dithered by error diffusion (Floyd and Steinberg, 1976).
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from jaxtyping import UInt, UInt8
from PIL import Image

from styleid.media.formats.raster import ALPHA_LAYOUTS, ColoursRGB, Layout, Raster, view_rgb
from styleid.types import ImageRGB, MaskArray

MOST_COLOURS = 16
"""Maximum number of colours of a picture into which new pixels are dithered."""

_SLIGHT = 6
_GAP_PX = 15


def repaint_dithered(
    raster: Raster, old_rgb: ImageRGB, new_rgb: ImageRGB, mask: MaskArray, whole: MaskArray
) -> Raster | None:
    """Return the raster with new pixels where mask is true, dithered to the colours that it has.

    Args:
        raster: The dithered picture.
        old_rgb: uint8 (h, w, 3), as stored, a smoothed copy of the picture.
        new_rgb: uint8 (h, w, 3), the smoothed copy with new pixels.
        mask: bool (h, w), where pixels may change; outside `whole`, pixels that differ only slightly are kept.
        whole: bool (h, w), where all pixels are written anew, even if their tone did not change.

    Returns:
        The new raster; None if it has fewer than 2 or more than `MOST_COLOURS` colours, is CMYK, has a transparent
        colour or premultiplied alpha.
    """
    if raster.layout is Layout.CMYK or raster.key is not None or raster.premultiplied:
        return None
    own = _own_colours(raster)
    if not 2 <= len(own) <= MOST_COLOURS:
        return None
    changed = whole | (mask & _closed(np.abs(new_rgb.astype(np.int16) - old_rgb).max(axis=2) > _SLIGHT))
    if not changed.any():
        return raster
    rows, columns = np.nonzero(changed.any(1))[0], np.nonzero(changed.any(0))[0]
    part = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    chosen = _dithered(new_rgb[part], _seen(raster, own))
    samples = raster.samples.copy()
    where = changed[part]
    if samples.ndim == 2:
        samples[part][where] = own[chosen[where], 0]
    else:
        samples[part][where, : own.shape[1]] = own[chosen[where]]
    return replace(raster, samples=samples)


def _closed(differs: MaskArray) -> MaskArray:
    """Close small gaps, and fill holes."""
    closed = cv2.morphologyEx(differs.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((_GAP_PX, _GAP_PX), np.uint8))
    outlines, _ = cv2.findContours(closed, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return cv2.drawContours(closed, outlines, -1, 1, cv2.FILLED) > 0


def _own_colours(raster: Raster) -> UInt[np.ndarray, "n c"]:
    """Return the distinct colours of a raster as samples, (n, c), sorted; more than `MOST_COLOURS` may be cut."""
    if raster.samples.ndim == 2:
        return np.flatnonzero(np.bincount(raster.samples.reshape(-1)))[:, None].astype(raster.samples.dtype)
    count = raster.samples.shape[2] - (raster.layout in ALPHA_LAYOUTS)
    packed = np.zeros(raster.size, np.uint64)
    for index in range(count):
        packed |= raster.samples[..., index].astype(np.uint64) << np.uint64(16 * index)
    distinct = np.unique(packed)[: MOST_COLOURS + 1]
    parts = [distinct >> np.uint64(16 * index) & np.uint64(0xFFFF) for index in range(count)]
    return np.column_stack(parts).astype(raster.samples.dtype)


def _seen(raster: Raster, own: UInt[np.ndarray, "n c"]) -> UInt8[np.ndarray, "n 3"]:
    """Return the view of colours that are given as samples, uint8 (n, 3)."""
    if raster.samples.ndim == 2:
        return view_rgb(replace(raster, samples=own.T.copy()))[0]
    opaque = np.zeros((1, len(own), raster.samples.shape[2]), own.dtype)
    opaque[0, :, : own.shape[1]] = own
    return view_rgb(replace(raster, samples=opaque))[0]


def _dithered(image_rgb: UInt8[np.ndarray, "h w 3"], colours: ColoursRGB) -> UInt8[np.ndarray, "h w"]:
    """Dither a picture to the given colours; return the index of each pixel's colour, (h, w)."""
    palette = Image.new("P", (1, 1))
    palette.putpalette(np.resize(colours, (256, 3)).tobytes())
    image = Image.fromarray(np.ascontiguousarray(image_rgb))
    return np.asarray(image.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG)) % len(colours)
