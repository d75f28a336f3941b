"""Convert a video's planes to RGB, and changed pixels back, so that all other pixels stay as decoded.

Convention
----------
Planes are those of planar formats without alpha: Y, U, V, or G, B, R, or grey; uint8, or uint16 above 8 bits. Matrix
and range are kept. If a file does not state its matrix, BT.709 is used from 720 lines on and BT.601 below, in both
directions.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from typing import Any

import cv2
import numpy as np
from jaxtyping import Bool, UInt, UInt8

from styleid.media.video.pyav import import_av
from styleid.types import ImageRGB, MaskArray

_RGB, _UNSPECIFIED, _FULL, _LIMITED = 0, 2, 2, 1
_SWS_709, _SWS_601, _SWS_240, _SWS_2020, _SWS_FCC = 1, 5, 7, 9, 4
_MATRICES = {1: _SWS_709, 4: _SWS_FCC, 5: _SWS_601, 6: _SWS_601, 7: _SWS_240, 9: _SWS_2020, 10: _SWS_2020}
_HD_LINES = 720
_BLOCK_PX = 16
"""Side of the blocks in which changed areas are converted; a multiple of every chroma sampling."""
_SAMPLINGS = {(1, 1): "444", (2, 1): "422", (2, 2): "420", (1, 2): "440", (4, 1): "411", (4, 4): "410"}
_UNEVEN = ("be", "f16le", "f32le", "msble")
"""Endings of the names of formats whose samples are big-endian, floating-point or not aligned to the lowest bit."""
_ACCURATE = 0x40000 | 0x2000 | 0x2  # swscale: accurate rounding, full chroma interpolation, bilinear


@dataclass(frozen=True)
class PixelColours:
    """A video's colour space as its frames state it.

    Attributes:
        matrix: Matrix coefficients, as in ITU-T H.273.
        primaries: Colour primaries, as in H.273.
        transfer: Transfer characteristics, as in H.273.
        full_range: Whether samples use the full range.
        lines: The smaller side of the picture in pixels, which decides the matrix if none is stated.
    """

    matrix: int
    primaries: int
    transfer: int
    full_range: bool
    lines: int

    @classmethod
    def of(cls, frame: Any) -> PixelColours:
        """Return the colour space of a decoded frame."""
        form = frame.format
        full = int(frame.color_range) == _FULL or form.name.startswith("yuvj") or form.is_rgb or form.has_palette
        return cls(
            int(frame.colorspace),
            int(frame.color_primaries),
            int(frame.color_trc),
            full,
            min(frame.height, frame.width),
        )

    def to_rgb(self, frame: Any) -> ImageRGB:
        """Convert a decoded frame to RGB, uint8 (height, width, 3), as stored."""
        return self._reformat(frame, "rgb24", source=True).to_ndarray()

    def to_grey(self, frame: Any) -> UInt8[np.ndarray, "h w"]:
        """Return a decoded frame in grey, uint8 (height, width), as stored.

        Of 8-bit YUV this is the luma plane, which needs no conversion; values are in the range of the file.
        """
        form = frame.format
        if form.is_planar and not form.is_rgb and all(part.bits == 8 for part in form.components):
            return np.asarray(planes_of(frame)[0], np.uint8)
        return np.asarray(cv2.cvtColor(self.to_rgb(frame), cv2.COLOR_RGB2GRAY), np.uint8)

    def from_rgb(self, image_rgb: ImageRGB, pixel_format: str, av: Any) -> Any:
        """Convert an RGB picture, uint8 (height, width, 3), to a frame of the given pixel format."""
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image_rgb), "rgb24")
        return self._reformat(frame, pixel_format, source=False)

    def in_format(self, frame: Any, pixel_format: str) -> Any:
        """Convert a decoded frame to another pixel format with the same matrix and range."""
        if frame.format.name == pixel_format:
            return frame
        matrix, span = self._sws, _FULL if self.full_range else _LIMITED
        return frame.reformat(
            format=pixel_format,
            src_colorspace=matrix,
            dst_colorspace=matrix,
            src_color_range=span,
            dst_color_range=span,
            interpolation=_ACCURATE,
            threads=1,
        )

    @property
    def coded_matrix(self) -> int:
        """Matrix with which an RGB source is written as YUV: H.273's number of BT.709 or BT.601."""
        return 1 if self._sws == _SWS_709 else 6

    @property
    def _sws(self) -> int:
        if self.matrix in _MATRICES:
            return _MATRICES[self.matrix]
        return _SWS_709 if self.lines >= _HD_LINES else _SWS_601

    def _reformat(self, frame: Any, pixel_format: str, *, source: bool) -> Any:
        span = _FULL if self.full_range else _LIMITED
        return frame.reformat(
            format=pixel_format,
            src_colorspace=self._sws,
            dst_colorspace=self._sws,
            src_color_range=span if source else _FULL,
            dst_color_range=_FULL if source else span,
            interpolation=_ACCURATE,
            threads=1,
        )


def planes_of(frame: Any) -> list[UInt[np.ndarray, "_ _"]]:
    """Return writable views of a planar frame's planes, uint8 or uint16 (height, width) each."""
    deep = max(component.bits for component in frame.format.components) > 8
    kind = np.dtype(np.uint16 if deep else np.uint8)
    views: list[UInt[np.ndarray, "_ _"]] = []
    for plane in frame.planes:
        rows = np.frombuffer(plane, kind).reshape(plane.height, plane.line_size // kind.itemsize)
        views.append(rows[:, : plane.width])
    return views


def planar_format(given: str, *, alpha: bool) -> str:
    """Return the planar format that can hold the samples of a pixel format: up to 16 bits, little-endian.

    Args:
        given: Name of a pixel format.
        alpha: Whether the result has an alpha plane; grey with alpha gets chroma planes, too.
    """
    fmt = import_av().VideoFormat(given)
    parts, bits = fmt.components, max((part.bits for part in fmt.components), default=8)
    apart = sorted(part.plane for part in parts) == list(range(len(parts))) and 8 <= bits <= 16
    if apart and not fmt.has_palette and not given.endswith(_UNEVEN) and alpha == any(p.is_alpha for p in parts):
        return given
    mark = "a" if alpha else ""
    if fmt.is_rgb or fmt.has_palette:
        return _deep_enough(f"gbr{mark}p", bits)
    if len(parts) == 1 and not alpha:
        return _deep_enough("gray", bits)
    ratio = 8 // fmt.chroma_width(8), 8 // fmt.chroma_height(8)
    return _deep_enough(f"yuv{mark}{_SAMPLINGS.get(ratio, '444') if len(parts) > 2 else '444'}p", bits)


def _deep_enough(name: str, bits: int) -> str:
    """Return the name of a format family with the smallest depth of at least `bits`; 16 if PyAV knows none."""
    formats = import_av().video.format.names if bits > 8 else ()
    depths = (f"{name}{depth}le" for depth in (9, 10, 12, 14, 16) if depth >= bits)
    return name if bits <= 8 else next((deep for deep in depths if deep in formats), f"{name}16le")


def black(name: str, *, full_range: bool) -> tuple[int, ...]:
    """Return the sample of each plane that means black, for a planar format without alpha."""
    fmt = import_av().VideoFormat(name)
    bits = max(part.bits for part in fmt.components)
    if fmt.is_rgb:
        return (0, 0, 0)
    dark = 0 if full_range else 16 << (bits - 8)
    return (dark, *[1 << (bits - 1)] * (len(fmt.components) - 1))


def blacken(frame: Any, hidden: MaskArray, *, full_range: bool) -> None:
    """Make pixels black in place; chroma samples that belong to any of them become neutral.

    Args:
        frame: A frame in a planar format without alpha.
        hidden: bool (h, w), the pixels, as stored.
        full_range: Whether samples use the full range.
    """
    for plane, dark in zip(planes_of(frame), black(frame.format.name, full_range=full_range), strict=True):
        plane[_coarser(hidden, -(-frame.height // plane.shape[0]), -(-frame.width // plane.shape[1]))] = dark


def fresh_copy(frame: Any, av: Any) -> Any:
    """Return a copy of a frame without its side data (captions, positions, notes).

    Args:
        frame: A frame in a planar format.
        av: The module PyAV.
    """
    copy = av.VideoFrame(frame.width, frame.height, frame.format.name)
    for mine, theirs in zip(planes_of(copy), planes_of(frame), strict=True):
        mine[...] = theirs
    return copy


def repaint(
    frame: Any, image_rgb: UInt8[np.ndarray, "h w 3"], changed: Bool[np.ndarray, "h w"], colours: PixelColours, av: Any
) -> None:
    """Write an RGB picture into a frame's planes where it changed, in place.

    A chroma sample changes if any of its pixels does.

    Args:
        frame: The frame to change.
        image_rgb: uint8 (h, w, 3), as stored.
        changed: bool (h, w), as stored.
        colours: The colour space of the clip.
        av: The module PyAV.
    """
    for (rows, columns), own in _areas(changed):
        new = colours.from_rgb(image_rgb[rows, columns], frame.format.name, av)
        for mine, theirs in zip(planes_of(frame), planes_of(new), strict=True):
            fy, fx = -(-changed.shape[0] // mine.shape[0]), -(-changed.shape[1] // mine.shape[1])
            y0, x0 = rows.start // fy, columns.start // fx
            target = mine[y0 : y0 + theirs.shape[0], x0 : x0 + theirs.shape[1]]
            cv2.copyTo(theirs, _coarser(own, fy, fx).view(np.uint8), target)


def _areas(changed: MaskArray) -> Iterator[tuple[tuple[slice, slice], MaskArray]]:
    """Yield each connected area of a mask: its rows and columns with a margin, in whole blocks, and its own pixels.

    Converting a few small areas is faster than converting the rectangle around all of them.
    """
    height, width = changed.shape
    blocks = _coarser(changed, _BLOCK_PX, _BLOCK_PX).view(np.uint8)
    near = cv2.dilate(blocks, np.ones((3, 3), np.uint8))
    count, names, places, _ = cv2.connectedComponentsWithStats(near, connectivity=8)
    for name in range(1, count):
        x, y, across, down = (int(value) * _BLOCK_PX for value in places[name][:4])
        part = slice(y, min(y + down, height)), slice(x, min(x + across, width))
        inside = np.repeat(np.repeat(names == name, _BLOCK_PX, 0), _BLOCK_PX, 1)[part]
        yield part, changed[part] & inside


def _coarser(mask: MaskArray, fy: int, fx: int) -> MaskArray:
    """Return which blocks of (fy, fx) pixels contain a true pixel."""
    height, width = mask.shape
    padded = np.pad(mask, ((0, -height % fy), (0, -width % fx)))
    rows = reduce(np.logical_or, (padded[k::fy] for k in range(fy)))
    return np.ascontiguousarray(reduce(np.logical_or, (rows[:, k::fx] for k in range(fx))))
