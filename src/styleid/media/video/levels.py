"""Stretch videos whose samples use a small part of their range, such as 10 to 14 bits in 16-bit files.

Faces are searched and drawn in pictures that are stretched by one span for the whole clip. New pixels are compressed
into that span again, so that the output uses the same range as the source.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any

import cv2
import numpy as np
from jaxtyping import UInt, UInt8

from styleid.media.stretch import Span, find_span
from styleid.media.video.planes import PixelColours, planar_format, planes_of
from styleid.types import ImageRGB

_COLOURED_SHARE = 8
"""New pixels are drawn in grey only if less than 1/8 of the range is used; viewers then show hardly any colour."""
_DEEP_BITS = 12
"""Up to this depth nothing is stretched: the detector still finds faces that use 1/16 of the range."""


@dataclass(frozen=True)
class StretchedColours(PixelColours):
    """Colour space of a clip whose samples use a small part of their range.

    Attributes:
        planar: The planar format that holds the clip's samples unchanged.
        span: The part of the range that the luma samples, or R, G and B, use.
        neutral: The median sample of each chroma plane, used as grey; new pixels have no colour.
    """

    planar: str
    span: Span
    neutral: tuple[int, ...]

    def to_rgb(self, frame: Any) -> ImageRGB:
        """Convert a decoded frame to stretched RGB, uint8 (height, width, 3), as stored."""
        return stretched(self, frame, self.span)

    def to_grey(self, frame: Any) -> UInt8[np.ndarray, "h w"]:
        """Return a decoded frame in stretched grey, uint8 (height, width), as stored."""
        return np.asarray(cv2.cvtColor(self.to_rgb(frame), cv2.COLOR_RGB2GRAY), np.uint8)

    def from_rgb(self, image_rgb: ImageRGB, pixel_format: str, av: Any) -> Any:
        """Convert an RGB picture, uint8 (height, width, 3), to a frame whose samples lie in the span."""
        height, width = image_rgb.shape[:2]
        frame = av.VideoFrame(width, height, self.planar)
        if frame.format.is_rgb:
            parts = [image_rgb[..., k] for k in (1, 2, 0)]
        else:
            parts = [cv2.cvtColor(np.ascontiguousarray(image_rgb), cv2.COLOR_RGB2GRAY)]
        planes = planes_of(frame)
        for plane, part in zip(planes, parts, strict=False):
            plane[...] = self.span.from_8_bits(part, plane.dtype)
        for plane, number in zip(planes[len(parts) :], self.neutral, strict=True):
            plane[...] = number
        return self.in_format(frame, pixel_format)  # the same conversion as for the rest of the picture


def stretched(colours: PixelColours, frame: Any, span: Span) -> ImageRGB:
    """Convert a decoded frame to RGB, uint8 (height, width, 3), as stored, with a span of its samples stretched.

    Args:
        colours: The colour space of the clip.
        frame: The decoded frame.
        span: The part of the range of luma, or of R, G and B, to stretch.
    """
    parts = [span.to_8_bits(plane) for plane in _bright_planes(colours, frame)]
    return np.stack([parts[k] for k in ((2, 0, 1) if len(parts) == 3 else (0, 0, 0))], -1)


def frame_span(colours: PixelColours, frame: Any) -> Span | None:
    """Return the span that a decoded frame uses.

    Args:
        colours: The colour space of the clip.
        frame: The decoded frame.

    Returns:
        The span; None if it is a large part of the range, if the frame has only one tone, or up to 12 bits.
    """
    if _bits(frame) <= _DEEP_BITS:
        return None
    return find_span(np.dstack(_bright_planes(colours, frame)), _bits(frame))


def stretch_clip(colours: PixelColours, frames: Iterable[Any]) -> PixelColours:
    """Return a clip's colour space, as `StretchedColours` if all frames use a small part of their range.

    Dark clips in colour are not stretched as a whole, so that new faces keep their colours; their frames are also
    searched in stretched copies.

    Args:
        colours: The colour space of the clip.
        frames: Its decoded frames; they are read until one uses its range.
    """
    low, high, most, planar, neutral, coloured = 1 << 16, 0, 0, "", (), False
    for frame in frames:
        span = frame_span(colours, frame)
        if span is None:
            if _bits(frame) <= _DEEP_BITS or _has_tones(colours, frame):
                return colours
            continue
        if not planar:
            planar, neutral = planar_format(frame.format.name, alpha=False), _neutral(colours, frame)
            most = 1 << _bits(frame)
        low, high = min(low, span.low), max(high, span.high)
        coloured |= _has_chroma(colours, frame)
        if 2 * (high - low) >= most:
            return colours
    if not planar or (coloured and _COLOURED_SHARE * (high - low) >= most):
        return colours
    known = {one.name: getattr(colours, one.name) for one in fields(PixelColours)}
    return StretchedColours(**known, planar=planar, span=Span(low, high), neutral=neutral)


def _bits(frame: Any) -> int:
    return max(part.bits for part in frame.format.components)


def _bright_planes(colours: PixelColours, frame: Any) -> list[UInt[np.ndarray, "_ _"]]:
    """Return the planes G, B and R, or the luma plane."""
    planes = _planar(colours, frame)
    return planes if frame.format.is_rgb else planes[:1]


def _planar(colours: PixelColours, frame: Any) -> list[UInt[np.ndarray, "_ _"]]:
    planar = colours.in_format(frame, planar_format(frame.format.name, alpha=False))
    return [plane.copy() for plane in planes_of(planar)]


def _has_tones(colours: PixelColours, frame: Any) -> bool:
    return any(plane.min() < plane.max() for plane in _bright_planes(colours, frame))


def _has_chroma(colours: PixelColours, frame: Any) -> bool:
    """Return whether a frame has colour: a chroma plane that is not flat."""
    return not frame.format.is_rgb and any(np.ptp(plane) > 0 for plane in _planar(colours, frame)[1:])


def _neutral(colours: PixelColours, frame: Any) -> tuple[int, ...]:
    return () if frame.format.is_rgb else tuple(int(np.median(plane)) for plane in _planar(colours, frame)[1:])
