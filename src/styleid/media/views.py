"""Views of a photo that can show faces which its stored colours do not show.

A viewer may composite the colours over white or black, show an extra channel as a grey picture, or brighten the colours
by a gain map; a person sees a dithered or screened picture from a distance. Faces must be found in all of these views.

Convention
----------
Views are upright, uint8 (h, w, 3). A view that is smaller than the photo shows the whole photo, reduced by `scale`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from styleid.media.formats.channels import block_means, extra_channel, holds_picture, steps_between
from styleid.media.formats.gain_map import GainMap
from styleid.media.formats.raster import to_8_bits, upright, view_rgb
from styleid.media.image import Photo
from styleid.types import ImageRGB

SMOOTHINGS_PX = (1.0, 2.0, 4.0, 8.0)
"""Standard deviations for smoothing dithered and screened pictures, from fine dots to faces of few dots."""

GAIN_MAP = "the gain map"

_FEW_LEVELS = 16
_BLOCK_PX, _BLOCKS = 32, 4
_ROUGH = 0.15
_TWO_TONED, _EACH_TONE, _NEAR = 0.87, 0.05, 0.15


@dataclass(frozen=True, eq=False)
class View:
    """One view of a photo.

    Attributes:
        image_rgb: uint8 (h, w, 3), upright.
        where: The channel that it shows; empty for the photo's colours.
        smoothing_px: Standard deviation of the smoothing, in pixels of the photo; 0 for none.
        scale: Size of the view divided by the size of the photo, in (0, 1].
    """

    image_rgb: ImageRGB
    where: str = ""
    smoothing_px: float = 0.0
    scale: float = 1.0


def further_views(photo: Photo) -> Iterator[View]:
    """Yield the views of a photo besides `Photo.image_rgb`; most photos have none.

    The views are: colours before stretching; smoothed copies of dithered or screened pictures; colours composited by
    alpha; an extra channel that is a picture, as it is and as a negative; the gain map.
    """
    if photo.raster.span is not None:
        yield View(_plain(photo))
    yield from _smoothed_views(View(photo.image_rgb))
    for view in _channel_views(photo):
        yield view
        yield from _smoothed_views(view)
    if photo.gain_map is not None:
        yield _gain_map_view(photo, photo.gain_map)


def smoothed(photo: Photo, smoothing_px: float) -> Photo:
    """Return a smoothed copy of a dithered photo; new pixels in it are dithered again when it is written.

    Args:
        photo: A dithered or screened photo.
        smoothing_px: Standard deviation of the Gaussian filter, in pixels.
    """
    image = cv2.GaussianBlur(photo.image_rgb, (0, 0), smoothing_px)
    image.setflags(write=False)
    return replace(photo, image_rgb=image, dithered=True)


def count_levels(image_rgb: ImageRGB) -> int:
    """Return the number of grey levels in a picture, 1 to 256."""
    return int(np.count_nonzero(_histogram(_grey(image_rgb))))


def is_screened(image_rgb: ImageRGB) -> bool:
    """Return whether a picture may be dithered or printed with a halftone screen.

    This is the case if it has at most 16 grey levels, if almost all pixels are near its darkest or brightest tone, or
    if neighbouring pixels differ more than they do in photos.
    """
    grey = _grey(image_rgb)
    counts = _histogram(grey)
    if 1 < np.count_nonzero(counts) <= _FEW_LEVELS:
        return True
    shares = np.cumsum(counts) / grey.size
    low, high = int(np.searchsorted(shares, 0.02)), int(np.searchsorted(shares, 0.98))
    near = int((high - low) * _NEAR)
    dark, bright = shares[low + near], 1 - shares[max(high - near - 1, 0)]
    if high > low and min(dark, bright) > _EACH_TONE and dark + bright > _TWO_TONED:
        return True
    return high > low and _roughness(grey) > _ROUGH * (high - low)


def _roughness(grey: UInt8[np.ndarray, "h w"]) -> float:
    """Return the mean difference between neighbouring pixels in the fourth roughest block of 32 x 32 pixels."""
    height, width = grey.shape
    if min(height, width) < 2:
        return 0.0
    blocks = max(1, width // _BLOCK_PX), max(1, height // _BLOCK_PX)
    rough = np.sort(block_means(steps_between(grey), blocks).reshape(-1))
    return float(rough[-min(_BLOCKS, len(rough))]) / 2


def _smoothed_views(view: View) -> Iterator[View]:
    if not is_screened(view.image_rgb):
        return
    height, width = view.image_rgb.shape[:2]
    for smoothing in SMOOTHINGS_PX:
        scale = min(1.0, 2 / smoothing)
        size = max(1, round(width * scale)), max(1, round(height * scale))
        small = view.image_rgb if scale == 1 else cv2.resize(view.image_rgb, size, interpolation=cv2.INTER_AREA)
        yield replace(view, image_rgb=cv2.GaussianBlur(small, (0, 0), smoothing * scale), smoothing_px=smoothing,
                      scale=scale)  # fmt: skip


def _channel_views(photo: Photo) -> Iterator[View]:
    """Yield the colours composited by alpha, and an extra channel that is a picture with its negative."""
    channel = extra_channel(photo.raster)
    if channel is None:
        return
    grey = upright(channel.grey(), photo.orientation)
    own_picture = holds_picture(grey)
    if not own_picture and not photo.raster.premultiplied:
        return
    opacity = upright(to_8_bits(channel.samples, channel.bits), photo.orientation)
    where = f"the {channel.name}"
    if photo.raster.premultiplied:
        colours = _plain(photo)
        yield View(_over(colours, opacity, 255, True), where)
        yield View(_divided(colours, opacity), where)
    else:
        yield View(_over(photo.image_rgb, opacity, 255, False), where)
        yield View(_over(photo.image_rgb, opacity, 0, False), where)
    if own_picture:
        yield View(_as_rgb(grey), where)
        yield View(_as_rgb(255 - grey), where)


def _gain_map_view(photo: Photo, gain_map: GainMap) -> View:
    """Return a gain map as a picture: it can show a face that the colours do not show."""
    image = upright(view_rgb(gain_map.raster), photo.orientation)
    return View(image, GAIN_MAP, scale=image.shape[1] / photo.image_rgb.shape[1])


def _plain(photo: Photo) -> ImageRGB:
    """Return a photo's colours without stretching."""
    return upright(view_rgb(replace(photo.raster, span=None), photo.icc_profile), photo.orientation)


def _over(
    colours: UInt8[np.ndarray, "h w 3"], opacity: UInt8[np.ndarray, "h w"], ground: int, premultiplied: bool
) -> UInt8[np.ndarray, "h w 3"]:
    """Composite colours over a grey background of 0 to 255."""
    share = opacity[..., None].astype(np.uint16)
    own = colours.astype(np.uint16) * (255 if premultiplied else share)
    return np.minimum((own + ground * (255 - share) + 127) // 255, 255).astype(np.uint8)


def _divided(colours: UInt8[np.ndarray, "h w 3"], opacity: UInt8[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w 3"]:
    """Divide premultiplied colours by their alpha."""
    share = np.maximum(opacity, 1)[..., None].astype(np.uint32)
    return np.minimum((colours.astype(np.uint32) * 255 + share // 2) // share, 255).astype(np.uint8)


def _grey(image_rgb: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h w"]:
    return cv2.cvtColor(image_rgb, cv2.COLOR_RGB2GRAY)


def _histogram(grey: UInt8[np.ndarray, "h w"]) -> Float[np.ndarray, "256"]:
    return cv2.calcHist([grey], [0], None, [256], [0, 256]).reshape(-1)


def _as_rgb(grey: UInt8[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w 3"]:
    return np.repeat(grey[..., None], 3, axis=2)
