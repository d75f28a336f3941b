"""See videos whose samples use a small part of their range, as sensors of 10 to 14 bits write into 16-bit files.

Faces are looked for, and drawn, in pictures that are stretched by one span for the whole clip; what is drawn is
squeezed into that span again, so that the output has the source's range.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any

import cv2
import numpy as np
from jaxtyping import UInt

from styleid.media.stretch import Span, find_span
from styleid.media.video.planes import PixelColours, planar_format, planes_of
from styleid.types import ImageRGB

_COLOURED_SHARE = 8
"""Colour is given up only where less than this part of the range is used, of which a viewer shows no colour either."""
_DEEP_BITS = 12
"""Up to so many bits the detector sees what uses a sixteenth of the range."""


@dataclass(frozen=True)
class StretchedColours(PixelColours):
    """Colours of a clip whose samples use a small part of their range.

    planar: the planar format that holds the clip's samples as they are. span: the part of their range that brightness,
    or R, G and B use. neutral: the usual number of each plane of chroma, which means grey here; what is drawn is grey.
    """

    planar: str
    span: Span
    neutral: tuple[int, ...]

    def to_rgb(self, frame: Any) -> ImageRGB:
        """Return a decoded frame stretched, uint8 RGB (height, width, 3), as stored."""
        return stretched(self, frame, self.span)

    def from_rgb(self, image_rgb: ImageRGB, pixel_format: str, av: Any) -> Any:
        """Return a frame in the planar format given, whose samples lie in the span."""
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
        return self.in_format(frame, pixel_format)  # as the rest of the picture comes into it


def stretched(colours: PixelColours, frame: Any, span: Span) -> ImageRGB:
    """Return a decoded frame with a span of its samples stretched, uint8 RGB (height, width, 3), as stored."""
    parts = [span.to_8_bits(plane) for plane in _bright_planes(colours, frame)]
    return np.stack([parts[k] for k in ((2, 0, 1) if len(parts) == 3 else (0, 0, 0))], -1)


def frame_span(colours: PixelColours, frame: Any) -> Span | None:
    """Return the span that a decoded frame uses of its range, None where it is usual, or the frame has one tone."""
    if _bits(frame) <= _DEEP_BITS:
        return None
    return find_span(np.dstack(_bright_planes(colours, frame)), _bits(frame))


def stretch_clip(colours: PixelColours, frames: Iterable[Any]) -> PixelColours:
    """Return a clip's colours, stretched where each of its decoded frames uses a small part of its range.

    Dark clips in colour stay as they are: their frames are looked at stretched as well, and drawn in their colours.
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
    """Return G, B and R, or the one plane of brightness."""
    planes = _planar(colours, frame)
    return planes if frame.format.is_rgb else planes[:1]


def _planar(colours: PixelColours, frame: Any) -> list[UInt[np.ndarray, "_ _"]]:
    planar = colours.in_format(frame, planar_format(frame.format.name, alpha=False))
    return [plane.copy() for plane in planes_of(planar)]


def _has_tones(colours: PixelColours, frame: Any) -> bool:
    return any(plane.min() < plane.max() for plane in _bright_planes(colours, frame))


def _has_chroma(colours: PixelColours, frame: Any) -> bool:
    """Say whether a frame has planes of chroma that are not flat: drawn faces would have no colour beside it."""
    return not frame.format.is_rgb and any(np.ptp(plane) > 0 for plane in _planar(colours, frame)[1:])


def _neutral(colours: PixelColours, frame: Any) -> tuple[int, ...]:
    return () if frame.format.is_rgb else tuple(int(np.median(plane)) for plane in _planar(colours, frame)[1:])
