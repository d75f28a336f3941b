"""Put a generated face into a crop by its labels: region masks, histograms matched, alpha-composited.

StyleID's method in pixel space (the public code's `facial_mask`, `area_mask` and `matched_swap`), whose radii are given
at 256 px and scale with the crop here. At 256 px the result is upstream's, byte for byte.

Convention
----------
Labels are uint8 (s, s) over CelebAMask-HQ's classes; masks uint8 (s, s), 0 or 255 (soft ones in between); images uint8
(s, s, 3), RGB.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from PIL import Image, ImageFilter

from styleid.pixel.regions import FACE, SKIN
from styleid.types import ImageRGB

Region = Literal["full", "inner"]
REGIONS: tuple[Region, ...] = get_args(Region)
Mask = np.ndarray[tuple[int, int], np.dtype[np.uint8]]

_REFERENCE_PX = 256
_EDGE, _WIDEN = 2.0, 5.0
_HALF, _WIDE = 125, 30


def region_mask(labels: np.ndarray, region: Region) -> Mask:
    """Return where a face is replaced, 0 or 255.

    full: skin and features; inner: the features without the skin, widened a little.
    """
    classes = FACE if region == "full" else tuple(label for label in FACE if label != SKIN)
    mask = np.isin(labels, classes).astype(np.uint8) * 255
    mask = _above(_blurred(mask, _EDGE), _HALF)
    return mask if region == "full" else _above(_blurred(mask, _WIDEN), _WIDE)


def soft_mask(mask: Mask) -> Mask:
    """Return a region's opacity: its mask with the edge softened."""
    return _blurred(mask, _EDGE)


def matched(generated: ImageRGB, original: ImageRGB, full: Mask) -> ImageRGB:
    """Return the generated image with its histogram inside the mask matched to the original's, channel by channel.

    As upstream does it: both images are black outside the mask, and the black takes part in the histograms.
    """
    inside = full[..., None] > 0
    out = generated.copy()
    for channel in range(3):
        given, wanted = (np.where(inside, image, 0)[..., channel] for image in (generated, original))
        table = _matching_table(np.bincount(given.ravel(), minlength=256), np.bincount(wanted.ravel(), minlength=256))
        out[..., channel] = np.where(inside[..., 0], table[given], generated[..., channel])
    return out


def matched_composite(original: ImageRGB, generated: ImageRGB, labels: np.ndarray, region: Region) -> ImageRGB:
    """Return the original with the generated face in one of its regions, colours matched.

    labels are those of the original. Upstream's `matched_swap`, at any size.
    """
    full = region_mask(labels, "full")
    face = matched(generated, original, full)
    alpha = soft_mask(full if region == "full" else region_mask(labels, region))
    return np.asarray(Image.composite(Image.fromarray(face), Image.fromarray(original), Image.fromarray(alpha)))


def _matching_table(given: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Return which value each of 256 values becomes, so that one histogram gets the shape of the other."""
    values = np.nonzero(wanted)[0]
    quantiles = np.cumsum(wanted[values]) / wanted.sum()
    return np.interp(np.cumsum(given) / given.sum(), quantiles, values).astype(np.uint8)


def _blurred(mask: Mask, radius_at_256: float) -> Mask:
    radius = radius_at_256 * mask.shape[0] / _REFERENCE_PX
    return np.asarray(Image.fromarray(mask).filter(ImageFilter.GaussianBlur(radius)))


def _above(mask: Mask, level: int) -> Mask:
    return (mask > level).astype(np.uint8) * 255
