"""Pixels as a file stores them, their 8-bit RGB view, and writing new pixels into them at the native depth.

Convention
----------
A `Raster` is in **stored** orientation. Samples are unsigned; ``bits`` of 1, 2 or 4 are held in uint8 with values
below ``2**bits``. A view is uint8 (h, w, 3): greys are repeated, alpha is ignored (a transparent pixel may show a
face), 16-bit values are rounded to ``v / 257`` and converted back as ``v * 257``. If a raster has a span, the view is
stretched so that the span reaches from black to white. RGB values stay in the picture's own colour space; CMYK is
converted to sRGB by its profile.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache
from typing import Any, cast

import numpy as np
from jaxtyping import UInt, UInt8
from PIL import Image

from styleid.media.stretch import Samples, Span, find_span
from styleid.types import ImageRGB, MaskArray

ColoursRGB = UInt8[np.ndarray, "_ 3"]
"""Colours of a palette, or selected pixels: uint8 (n, 3), RGB."""

_ROWS = 256
_CMYK_INK_TOTAL = 255


class Layout(StrEnum):
    """The channels of a picture."""

    GREY = "grey"
    GREY_ALPHA = "grey and alpha"
    RGB = "RGB"
    RGB_ALPHA = "RGB and alpha"
    PALETTE = "palette"
    CMYK = "CMYK"

    @property
    def channels(self) -> int:
        """Number of samples per pixel."""
        return {"grey": 1, "palette": 1, "grey and alpha": 2, "RGB": 3}.get(self.value, 4)

    @property
    def space(self) -> bytes:
        """Colour space that a profile for the picture must have, as in its header."""
        return b"CMYK" if self is Layout.CMYK else b"GRAY" if self in (Layout.GREY, Layout.GREY_ALPHA) else b"RGB "


ALPHA_LAYOUTS = frozenset({Layout.GREY_ALPHA, Layout.RGB_ALPHA})
"""Layouts whose last channel is alpha or another extra channel."""


@dataclass(frozen=True, eq=False)
class Palette:
    """A palette.

    Attributes:
        colours: uint8 (n, 3), n at most 256.
        alphas: uint8, one for each of the first colours; the others are opaque. None if all are opaque.
    """

    colours: ColoursRGB
    alphas: UInt8[np.ndarray, " _"] | None = None

    def opacities(self) -> UInt8[np.ndarray, "256"]:
        """Return the alpha of each index, uint8 (256,)."""
        table = np.full(256, 255, np.uint8)
        if self.alphas is not None:
            table[: len(self.alphas)] = self.alphas
        return table


@dataclass(frozen=True, eq=False)
class Raster:
    """Pixels as stored.

    Attributes:
        samples: (h, w) for one channel, else (h, w, c); uint8, or uint16 if bits is 16. Read-only.
        layout: What the channels are.
        bits: Depth of a sample: 1, 2, 4, 8 or 16.
        palette: The palette, if the layout is PALETTE, else None.
        key: Samples of the one colour that means transparent (PNG without alpha), or None.
        premultiplied: Whether colours are multiplied by alpha (TIFF, HEIC).
        known_as_alpha: Whether the file says that the extra channel is alpha.
        span: The part of their range that colours use, None for all of it; see `with_span`.
    """

    samples: Samples
    layout: Layout
    bits: int = 8
    palette: Palette | None = None
    key: tuple[int, ...] | None = None
    premultiplied: bool = False
    known_as_alpha: bool = True
    span: Span | None = None

    def __post_init__(self) -> None:
        channels = self.samples.shape[2] if self.samples.ndim == 3 else 1
        dtype = np.uint16 if self.bits == 16 else np.uint8
        if channels != self.layout.channels or self.samples.dtype != dtype:
            raise ValueError(f"A {self.layout} raster of {self.bits} bits cannot hold {self.samples.shape} "
                             f"of {self.samples.dtype}.")  # fmt: skip
        if (self.layout is Layout.PALETTE) != (self.palette is not None):
            raise ValueError(f"A raster must have a palette if and only if its layout is palette, not {self.layout}.")
        self.samples.setflags(write=False)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width as stored."""
        return int(self.samples.shape[0]), int(self.samples.shape[1])


def upright(array: Samples, orientation: int) -> Samples:
    """Rotate and mirror a stored array, (h, w) or (h, w, c), by an EXIF orientation of 1 to 8."""
    steps = {2: array[:, ::-1], 3: array[::-1, ::-1], 4: array[::-1]}
    if orientation in steps:
        return np.ascontiguousarray(steps[orientation])
    if orientation >= 5:
        turned = array.swapaxes(0, 1)
        turned = {5: turned, 6: turned[:, ::-1], 7: turned[::-1, ::-1], 8: turned[::-1]}[orientation]
        return np.ascontiguousarray(turned)
    return array


def stored(array: Samples, orientation: int) -> Samples:
    """Rotate and mirror an upright array, (h, w) or (h, w, c), back to how the file stores it."""
    return upright(array, {6: 8, 8: 6}.get(orientation, orientation))


def with_span(raster: Raster) -> Raster:
    """Return a raster whose view is stretched if its colours use only a small part of their range."""
    colours = view_rgb(raster) if raster.palette is not None else _colours(raster)
    return replace(raster, span=find_span(colours, 8 if raster.palette is not None else raster.bits))


def view_rgb(raster: Raster, icc_profile: bytes | None = None) -> ImageRGB:
    """Return the view of a raster, uint8 (h, w, 3), in stored orientation.

    Args:
        raster: The pixels. If they are 8-bit RGB, the view shares their memory.
        icc_profile: The profile by which CMYK is converted to sRGB; None uses a simple formula.
    """
    if raster.palette is not None:
        colours = raster.palette.colours if raster.span is None else raster.span.to_8_bits(raster.palette.colours)
        return np.take(_padded(colours, raster.bits), raster.samples, axis=0)
    colours = _colours(raster)
    eight = to_8_bits(colours, raster.bits) if raster.span is None else raster.span.to_8_bits(colours)
    if raster.layout is Layout.CMYK:
        return _cmyk_to_rgb(eight, icc_profile)
    return eight if eight.shape[2] == 3 else np.repeat(eight, 3, axis=2)


def _colours(raster: Raster) -> UInt[np.ndarray, "h w c"]:
    """Return the samples (h, w, c) without an extra channel."""
    samples = raster.samples if raster.samples.ndim == 3 else raster.samples[..., None]
    return samples[..., :-1] if raster.layout in ALPHA_LAYOUTS else samples


def repaint(
    raster: Raster, old_rgb: ImageRGB, new_rgb: ImageRGB, mask: MaskArray, icc_profile: bytes | None = None
) -> Raster:
    """Return the raster with the pixels of new_rgb where mask is true, at the native depth.

    Pixels that are equal in old_rgb and new_rgb keep their samples. Alpha is kept. A grey raster gets the luma of the
    new pixels. A palette becomes RGB, with alpha if the palette had any, if a pixel changed.

    Args:
        raster: The pixels.
        old_rgb: uint8 (h, w, 3), the raster's view.
        new_rgb: uint8 (h, w, 3), the new pixels.
        mask: bool (h, w), where pixels may change. All arrays are in stored orientation.
        icc_profile: The profile of a CMYK raster.
    """
    target = raster
    samples: Samples | None = None
    for top in range(0, len(mask), _ROWS):
        band = slice(top, top + _ROWS)
        if not mask[band].any():
            continue
        changed = mask[band] & (new_rgb[band] != old_rgb[band]).any(axis=2)
        if changed.any():
            if samples is None:
                target = expanded(raster)
                samples = target.samples.copy()
            pixels = samples[band][changed]
            painted = _painted(pixels.reshape(len(pixels), -1), new_rgb[band][changed], target, icc_profile)
            samples[band][changed] = painted.reshape(pixels.shape)
    return raster if samples is None else replace(target, samples=samples)


def _painted(
    before: UInt[np.ndarray, "n c"], new: UInt8[np.ndarray, "n 3"], raster: Raster, icc_profile: bytes | None
) -> UInt[np.ndarray, "n c"]:
    """Return the samples (n, c) that show the pixels `new`; `before` are the old samples."""
    after = before.copy()
    if raster.layout is Layout.CMYK:
        seen = to_8_bits(before, raster.bits) if raster.span is None else raster.span.to_8_bits(before)
        after[:] = _native(_rgb_to_cmyk(new, seen, icc_profile), raster)
    else:
        grey = raster.layout in (Layout.GREY, Layout.GREY_ALPHA)
        after[:, : 1 if grey else 3] = _native(luma(new)[:, None] if grey else new, raster)
    if raster.premultiplied:
        after = np.minimum(after, after[:, -1:])
    if raster.key is not None:
        after = _kept_off_key(before, after, raster.key)
    return after


def expanded(raster: Raster) -> Raster:
    """Return a palette raster as 8-bit RGB, with alpha if the palette has any; other rasters unchanged."""
    if raster.palette is None:
        return raster
    colours = view_rgb(replace(raster, span=None))
    if raster.palette.alphas is None:
        return Raster(colours, Layout.RGB, span=raster.span)
    opacity = raster.palette.opacities()[raster.samples]
    return Raster(np.dstack([colours, opacity]), Layout.RGB_ALPHA, span=raster.span)


def luma(rgb: UInt8[np.ndarray, "*shape 3"]) -> UInt8[np.ndarray, "*shape"]:
    """Return the luma (ITU-R BT.601) of pixels (..., 3); the luma of a grey is the grey itself."""
    wide = rgb.astype(np.uint32)
    return ((19595 * wide[..., 0] + 38470 * wide[..., 1] + 7471 * wide[..., 2] + 32768) >> 16).astype(np.uint8)


def to_8_bits(samples: UInt[np.ndarray, "*shape"], bits: int) -> UInt8[np.ndarray, "*shape"]:
    """Scale samples to uint8.

    Args:
        samples: Unsigned, of any shape.
        bits: Their depth, 1 to 16.
    """
    return samples if bits == 8 else np.take(_down_table(bits), samples)


def swap_red_and_blue(array: UInt[np.ndarray, "h w c"]) -> UInt[np.ndarray, "h w c"]:
    """Exchange the first and third channels of (h, w, 3 or more) in place, band by band, and return the array."""
    for top in range(0, len(array), _ROWS):
        red = array[top : top + _ROWS, :, 0].copy()
        array[top : top + _ROWS, :, 0] = array[top : top + _ROWS, :, 2]
        array[top : top + _ROWS, :, 2] = red
    return array


def to_image(array: Samples, mode: str) -> Image.Image:
    """Return samples as a Pillow image, without a copy if possible.

    Args:
        array: uint8, (h, w) or (h, w, c).
        mode: Pillow's name of the mode, such as "RGB".
    """
    height, width = array.shape[:2]
    flat = np.ascontiguousarray(array).reshape(-1)
    return Image.frombuffer(mode, (width, height), flat, "raw", mode, 0, 1)


def from_image(image: Image.Image) -> Samples:
    """Return the samples of a Pillow image as a new array, copied in bands to save memory."""
    width, height = image.size
    first = np.asarray(image.crop((0, 0, 1, 1)))
    array = np.empty((height, width, *first.shape[2:]), first.dtype)
    band = max(1, (1 << 24) // width)
    for top in range(0, height, band):
        array[top : top + band] = np.asarray(image.crop((0, top, width, min(top + band, height))))
    return array


def _native(values: UInt8[np.ndarray, "n c"], raster: Raster) -> UInt[np.ndarray, "n c"]:
    """Return the samples that a raster's view shows as the given 8-bit values."""
    if raster.span is not None:
        return raster.span.from_8_bits(values, raster.samples.dtype)
    return _from_8_bits(values, raster.bits)


def _from_8_bits(values: UInt8[np.ndarray, "n c"], bits: int) -> UInt[np.ndarray, "n c"]:
    if bits == 8:
        return values
    if bits == 16:
        return values.astype(np.uint16) * np.uint16(257)
    top = (1 << bits) - 1
    return ((values.astype(np.uint16) * top + 127) // 255).astype(np.uint8)


@lru_cache
def _down_table(bits: int) -> UInt8[np.ndarray, " n"]:
    top = (1 << bits) - 1
    return ((np.arange(top + 1, dtype=np.uint32) * 255 + top // 2) // top).astype(np.uint8)


def _padded(colours: ColoursRGB, bits: int) -> ColoursRGB:
    table = np.zeros((1 << bits, 3), np.uint8)
    table[: len(colours)] = colours
    return table


def _kept_off_key(
    before: UInt[np.ndarray, "n c"], after: UInt[np.ndarray, "n c"], key: tuple[int, ...]
) -> UInt[np.ndarray, "n c"]:
    """Keep transparent pixels, and move other pixels off the transparent colour."""
    was = (before == np.array(key)).all(axis=1)
    is_now = (after == np.array(key)).all(axis=1)
    hit = is_now & ~was
    after[hit, -1] = np.where(after[hit, -1] > 0, after[hit, -1] - 1, 1)
    after[was] = before[was]
    return after


def _cmyk_to_rgb(cmyk: UInt8[np.ndarray, "h w 4"], icc_profile: bytes | None) -> UInt8[np.ndarray, "h w 3"]:
    """Convert CMYK to sRGB by the profile, or by (1 - c)(1 - k) without one."""
    transforms = _cmyk_transforms(icc_profile)
    rgb = np.empty((*cmyk.shape[:2], 3), np.uint8)
    for top in range(0, len(cmyk), _ROWS):
        part = cmyk[top : top + _ROWS]
        if transforms is None:
            light = 255 - part.astype(np.uint16)
            rgb[top : top + _ROWS] = (light[..., :3] * light[..., 3:] + 127) // 255
        else:
            rgb[top : top + _ROWS] = np.asarray(transforms[0].apply(to_image(part, "CMYK")))
    return rgb


def _rgb_to_cmyk(
    rgb: UInt8[np.ndarray, "n 3"], old_cmyk: UInt8[np.ndarray, "n 4"], icc_profile: bytes | None
) -> UInt8[np.ndarray, "n 4"]:
    """Convert sRGB pixels to CMYK.

    Without a profile, each pixel keeps as much of its old black ink as its new colour allows, so that the black
    generation of the print changes little.
    """
    transforms = _cmyk_transforms(icc_profile)
    if transforms is not None:
        return np.asarray(transforms[1].apply(to_image(rgb[None], "RGB")))[0]
    light = rgb.astype(np.int32)
    black = np.minimum(old_cmyk[:, 3].astype(np.int32), _CMYK_INK_TOTAL - light.max(axis=1))
    room = np.maximum(_CMYK_INK_TOTAL - black, 1)[:, None]
    inks = _CMYK_INK_TOTAL - (light * _CMYK_INK_TOTAL + room // 2) // room
    return np.clip(np.column_stack([inks, black]), 0, 255).astype(np.uint8)


@lru_cache(maxsize=8)
def _cmyk_transforms(icc_profile: bytes | None) -> tuple[Any, Any] | None:
    """Return the transforms from CMYK to sRGB and back, None if the profile or Pillow cannot provide both."""
    if icc_profile is None:
        return None
    try:
        from PIL import ImageCms
    except ImportError:
        return None
    try:
        inks = ImageCms.ImageCmsProfile(io.BytesIO(icc_profile))
        light = ImageCms.ImageCmsProfile(cast(Any, ImageCms).createProfile("sRGB"))  # Pillow leaves its type open
        intent, flags = ImageCms.Intent.RELATIVE_COLORIMETRIC, ImageCms.Flags.BLACKPOINTCOMPENSATION
        return (
            ImageCms.buildTransform(inks, light, "CMYK", "RGB", intent, flags),
            ImageCms.buildTransform(light, inks, "RGB", "CMYK", intent, flags),
        )
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None
