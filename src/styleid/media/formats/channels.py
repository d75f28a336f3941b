"""The extra channel of a picture: alpha, or a picture of its own such as near infrared or depth.

A matte consists of flat areas with soft or hard edges, says where the picture is opaque, and is not changed. Any other
channel may show a face: faces are searched in it, and it is made flat where there are faces.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int, Shaped, UInt, UInt8

from styleid.media.formats.raster import ALPHA_LAYOUTS, Layout, Raster, Samples, expanded, to_8_bits
from styleid.media.stretch import Span, find_span
from styleid.types import MaskArray

_BLOCK_PX, _CLUSTERS, _BAND_BLOCKS = 16, 8, 16
_WHOLE_SUMS = (1 << 31) // 255
"""Fewer pixels of 8 bits have a sum below 2 ** 31."""
_EXTREME, _FAINT = 8, 16
_MIDDLE, _ACTIVE, _INCOHERENT, _DITHERED = 0.6, 0.5, 0.5, 42.0
_FACE_BLOCK_PX, _FACE_TEXTURED = 8, 0.15
_SHADED, _SLOPING, _RELIEF = 0.8, 0.3, 1.6
_SHADED_IF_NOT_ALPHA, _RELIEF_IF_NOT_ALPHA = 0.1, 0.5


@dataclass(frozen=True, eq=False)
class Channel:
    """The extra channel of a picture.

    Attributes:
        samples: (h, w), as stored.
        bits: Depth of a sample.
        known_as_alpha: Whether the file says that the channel is alpha.
    """

    samples: UInt[np.ndarray, "_ _"]
    bits: int
    known_as_alpha: bool = True

    @property
    def name(self) -> str:
        """Name of the channel for messages."""
        return "alpha channel" if self.known_as_alpha else "extra channel"

    @property
    def span(self) -> Span | None:
        """The part of its range that the channel uses, if that is small but more than noise, else None."""
        span = find_span(self.samples, self.bits)
        return span if span is not None and (self.bits > 8 or span.high - span.low >= _FAINT) else None

    def grey(self) -> UInt8[np.ndarray, "h w"]:
        """Return the channel as a grey picture, uint8 (h, w), stretched if it uses a small part of its range."""
        span = self.span
        return to_8_bits(self.samples, self.bits) if span is None else span.to_8_bits(self.samples)


def extra_channel(raster: Raster) -> Channel | None:
    """Return the extra channel of a raster, None if it has none.

    This is its last channel, or the alpha of its palette or of its transparent colour.
    """
    if raster.layout in ALPHA_LAYOUTS:
        return Channel(raster.samples[..., -1], raster.bits, raster.known_as_alpha)
    if raster.palette is not None and raster.palette.alphas is not None:
        return Channel(raster.palette.opacities()[raster.samples], 8)
    if raster.key is not None:
        return Channel(_keyed(raster), 8)
    return None


def holds_picture(grey: UInt8[np.ndarray, "h w"]) -> bool:
    """Return whether a channel, uint8 (h, w), is a picture and not only a matte.

    A matte is flat except at its edges, where it rises steadily. A picture is uneven in whole areas, or dithered.
    """
    low, high, _, _ = cv2.minMaxLoc(grey)
    return min(grey.shape) > 1 and low < high and _clustered(_textured_blocks(grey, _BLOCK_PX))


def hide_in_channel(raster: Raster, mask: MaskArray) -> Raster:
    """Return a raster whose extra channel is flat in those areas of the mask where it may show a face.

    A raster without an extra channel, or whose channel is a matte in all areas, is returned unchanged. Otherwise a
    palette or a transparent colour becomes colours with alpha.

    Args:
        raster: The pixels.
        mask: bool (h, w), as stored, one connected area for each face.
    """
    channel = extra_channel(raster)
    if channel is None or not mask.any():
        return raster
    grey, hidden = channel.grey(), np.zeros_like(mask)
    count, areas, boxes, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    target = raster
    for number in range(1, count):
        x, y, width, height = (int(v) for v in boxes[number][:4])
        part = np.s_[y : y + height, x : x + width]
        if _shows_face(grey[part], areas[part] == number, channel.known_as_alpha):
            hidden[part] |= areas[part] == number
    if hidden.any():
        target = with_alpha(raster)
        samples = target.samples.copy()
        samples[hidden, -1] = _flat(samples[..., -1], hidden, target)
        target = replace(target, samples=samples)
    return target


def with_alpha(raster: Raster) -> Raster:
    """Return a raster in which transparency, if any, is an alpha channel instead of a palette or a key colour."""
    if raster.palette is not None:
        return expanded(raster)
    if raster.key is None:
        return raster
    colours = to_8_bits(raster.samples, raster.bits) if raster.bits < 8 else raster.samples
    opacity = _keyed(raster).astype(colours.dtype) * (257 if raster.bits == 16 else 1)
    layout = Layout.GREY_ALPHA if raster.layout is Layout.GREY else Layout.RGB_ALPHA
    return Raster(np.dstack([colours, opacity]), layout, max(8, raster.bits))


def _flat(samples: UInt[np.ndarray, "h w"], hidden: Bool[np.ndarray, "h w"], raster: Raster) -> int:
    """Return the value that hides a face: the mean of its surroundings, or opaque if colours are premultiplied."""
    if raster.premultiplied:
        return (1 << raster.bits) - 1
    around = cv2.dilate(hidden.astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    around &= ~hidden
    return round(float(samples[around if around.any() else hidden].mean()))


def _keyed(raster: Raster) -> UInt8[np.ndarray, "h w"]:
    """Return the alpha of a raster with a transparent colour: 0 for that colour, else 255."""
    same = raster.samples == np.array(raster.key, np.int64).reshape(-1)
    return np.where(same.all(axis=2) if raster.samples.ndim == 3 else same, 0, 255).astype(np.uint8)


def _clustered(blocks: MaskArray) -> bool:
    """Return whether enough blocks form squares of two by two; an edge is only one block wide."""
    both = blocks[1:] & blocks[:-1]
    together = both[:, 1:] & both[:, :-1]
    return bool(together.sum() >= min(_CLUSTERS, max(1, together.size)))


def _textured_blocks(grey: UInt8[np.ndarray, "h w"], side_px: int) -> MaskArray:
    """Return which blocks, (rows, columns), are uneven like a picture, or dithered."""
    size = max(1, grey.shape[1] // side_px), max(1, grey.shape[0] // side_px)
    steps = steps_between(grey)
    dithered = np.asarray(block_means(steps, size) / 2 > _DITHERED)
    middle = block_means(cv2.inRange(grey, _EXTREME, 255 - _EXTREME), size) > 255 * _MIDDLE
    if not _clustered(middle):
        return dithered
    active = block_means((steps > 0).astype(np.uint8) * 255, size) > 255 * _ACTIVE
    return dithered | (middle & active & _incoherent(grey, size))


def _incoherent(grey: UInt8[np.ndarray, "h w"], size: tuple[int, int]) -> MaskArray:
    """Return which blocks have gradients in many directions, relative to the contrast of the whole channel."""
    soft = cv2.GaussianBlur(grey, (0, 0), 1.5)
    across, down = (cv2.Sobel(soft, cv2.CV_32F, dx, 1 - dx, ksize=1) / 2 for dx in (1, 0))
    steep = block_means(cv2.magnitude(across, down), size)
    common = np.hypot(block_means(across, size), block_means(down, size))
    low, high = np.percentile(grey[::4, ::4], (1, 99))
    return np.asarray(steep - common > _INCOHERENT * max(high - low, 16.0) / 255)


def steps_between(grey: UInt8[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h-1 w-1"]:
    """Return for each pixel the sum of its absolute differences to the pixel on the left and to the one above."""
    return cv2.add(cv2.absdiff(grey[1:, 1:], grey[1:, :-1]), cv2.absdiff(grey[1:, 1:], grey[:-1, 1:]))


def block_means(values: Shaped[np.ndarray, "h w"], size: tuple[int, int]) -> Float[np.ndarray, "rows columns"]:
    """Return the means of equal blocks, float64 (rows, columns).

    Args:
        values: uint8 or float32 (h, w).
        size: Number of blocks: columns, rows.
    """
    across, down = (_edges(length, count) for length, count in zip(values.shape[::-1], size, strict=True))
    sums: list[Samples] = []
    for first in range(0, size[1], _BAND_BLOCKS):
        rows = down[first : first + _BAND_BLOCKS + 1]
        band = values[rows[0] : rows[-1]]
        fits = values.dtype == np.uint8 and band.size < _WHOLE_SUMS  # integers are many times as fast, and as exact
        whole: Samples = cv2.integral(band, sdepth=cv2.CV_32S if fits else cv2.CV_64F)
        table = whole[np.ix_(rows - rows[0], across)].astype(np.float64)
        sums.append(table[1:, 1:] - table[1:, :-1] - table[:-1, 1:] + table[:-1, :-1])
    return np.concatenate(sums) / ((down[1:] - down[:-1])[:, None] * (across[1:] - across[:-1]))


def _edges(length: int, count: int) -> Int[np.ndarray, " n"]:
    return np.arange(count + 1) * length // count


def _shows_face(grey: UInt8[np.ndarray, "h w"], area: Bool[np.ndarray, "h w"], known_as_alpha: bool) -> bool:
    """Return whether a part of a channel may show a face in an area, bool (h, w), of that part."""
    if min(grey.shape) < 2 or np.ptp(grey[area]) == 0:
        return False
    if _textured_blocks(grey, _FACE_BLOCK_PX).mean() >= _FACE_TEXTURED:
        return True
    shaded = ((grey > _EXTREME) & (grey < 255 - _EXTREME))[area].mean()
    if not known_as_alpha:
        return bool(shaded >= _SHADED_IF_NOT_ALPHA) and _relief(grey, area) > _RELIEF_IF_NOT_ALPHA
    inner = area[1:, 1:]
    if not inner.any():  # a line of pixels cannot show a face
        return False
    sloping = (steps_between(grey)[inner] > 0).mean()
    return bool(shaded >= _SHADED and sloping >= _SLOPING) and _relief(grey, area) > _RELIEF


def _relief(grey: UInt8[np.ndarray, "h w"], area: Bool[np.ndarray, "h w"]) -> float:
    """Return the root mean square deviation of an area from a fitted quadratic surface.

    It is large for a depth map of a face and small for a fade.
    """
    rows, columns = np.nonzero(area)
    y, x = (2 * v / max(int(v.max()), 1) - 1 for v in (rows, columns))
    terms = np.column_stack([np.ones_like(x), x, y, x * x, x * y, y * y])
    values = grey[area].astype(np.float64)
    fitted = terms @ np.linalg.lstsq(terms, values, rcond=None)[0]
    return float(np.sqrt(np.mean((values - fitted) ** 2)))
