"""What a person can see in a photo besides its colours as they are stored.

A viewer puts colours over white or black by their alpha, may show any further channel as a grey picture, brightens
colours by a gain map, and sees a dither or a printer's screen from afar. Faces that show in one of these only must be
found too.

Convention
----------
Views are upright, uint8 (h, w, 3). A view of another size than the photo's is the whole photo, reduced by `scale`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from styleid.media.formats.channels import beside_colours, block_means, holds_picture, steps_between
from styleid.media.formats.gain_map import GainMap
from styleid.media.formats.raster import to_8_bits, upright, view_rgb
from styleid.media.image import Photo
from styleid.types import ImageRGB

SMOOTHINGS_PX = (1.0, 2.0, 4.0, 8.0)
"""Standard deviations at which dithers and screens are smoothed: fine dots first, a face of few dots last."""

GAIN_MAP = "the gain map"

_FEW_LEVELS = 16
_BLOCK_PX, _BLOCKS = 32, 4
_ROUGH = 0.15
_TWO_TONED, _EACH_TONE, _NEAR = 0.87, 0.05, 0.15


@dataclass(frozen=True, eq=False)
class View:
    """Hold one picture that a person can see in a photo.

    where: the channel that it shows, empty for the photo's own colours. smoothing_px: how much it was smoothed, in
    pixels of the photo. scale: its size as a share of the photo's.
    """

    image_rgb: ImageRGB
    where: str = ""
    smoothing_px: float = 0.0
    scale: float = 1.0


def further_views(photo: Photo) -> Iterator[View]:
    """Yield what can be seen in a photo besides `Photo.image_rgb`; nothing, and in no time, for most photos."""
    if photo.raster.span is not None:
        yield View(_plain(photo))
    yield from _smoothed_views(View(photo.image_rgb))
    for view in _channel_views(photo):
        yield view
        yield from _smoothed_views(view)
    if photo.gain_map is not None:
        yield _gain_map_view(photo, photo.gain_map)


def smoothed(photo: Photo, smoothing_px: float) -> Photo:
    """Return a photo as it is seen from afar; what is painted into it is dithered again when it is written."""
    image = cv2.GaussianBlur(photo.image_rgb, (0, 0), smoothing_px)
    image.setflags(write=False)
    return replace(photo, image_rgb=image, dithered=True)


def count_levels(image_rgb: ImageRGB) -> int:
    """Count a picture's levels of grey."""
    return int(np.count_nonzero(_histogram(_grey(image_rgb))))


def is_screened(image_rgb: ImageRGB) -> bool:
    """Say whether a picture may be a dither or a printer's screen.

    It is where it has few levels, where almost all of it is near its darkest or its brightest tone, or where
    neighbouring pixels differ as much as they do in no photo.
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
    """Return by how much neighbours differ in the fourth roughest of the picture's blocks."""
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
    """Yield the colours over white and over black and the channel beside them, both ways round, if it is a picture."""
    channel = beside_colours(photo.raster)
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
    """Return a gain map as a picture: what it makes brighter may be a face that the colours do not show."""
    image = upright(view_rgb(gain_map.raster), photo.orientation)
    return View(image, GAIN_MAP, scale=image.shape[1] / photo.image_rgb.shape[1])


def _plain(photo: Photo) -> ImageRGB:
    """Return a photo's colours unstretched."""
    return upright(view_rgb(replace(photo.raster, span=None), photo.icc_profile), photo.orientation)


def _over(
    colours: UInt8[np.ndarray, "h w 3"], opacity: UInt8[np.ndarray, "h w"], ground: int, premultiplied: bool
) -> UInt8[np.ndarray, "h w 3"]:
    """Return colours over a grey ground, 0 to 255."""
    share = opacity[..., None].astype(np.uint16)
    own = colours.astype(np.uint16) * (255 if premultiplied else share)
    return np.minimum((own + ground * (255 - share) + 127) // 255, 255).astype(np.uint8)


def _divided(colours: UInt8[np.ndarray, "h w 3"], opacity: UInt8[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w 3"]:
    """Return premultiplied colours as they were before."""
    share = np.maximum(opacity, 1)[..., None].astype(np.uint32)
    return np.minimum((colours.astype(np.uint32) * 255 + share // 2) // share, 255).astype(np.uint8)


def _grey(image_rgb: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h w"]:
    return cv2.cvtColor(image_rgb, cv2.COLOR_RGB2GRAY)


def _histogram(grey: UInt8[np.ndarray, "h w"]) -> Float[np.ndarray, "256"]:
    return cv2.calcHist([grey], [0], None, [256], [0, 256]).reshape(-1)


def _as_rgb(grey: UInt8[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w 3"]:
    return np.repeat(grey[..., None], 3, axis=2)
