"""A canvas for the plots of a ranking, drawn with Pillow.

Coordinates are (x, y), y downwards, in units of which the PNG has two pixels. Drawing happens at four pixels per unit
and is averaged down at the end, which smooths edges.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw, ImageFont

Colour = tuple[int, int, int]
INK, FAINT, PAPER = (34, 40, 49), (120, 126, 134), (255, 255, 255)
EMPTY = (240, 240, 240)
_DRAWN, _WRITTEN = 4, 2
"""Pixels per unit while drawing, and in the PNG."""
_SEQUENTIAL = ((247, 251, 255), (198, 219, 239), (107, 174, 214), (33, 113, 181), (8, 48, 107))
_DIVERGING = ((33, 84, 145), (120, 169, 207), (245, 245, 242), (226, 145, 93), (158, 54, 24))


class Canvas:
    """A white picture."""

    def __init__(self, wide: int, high: int) -> None:
        """Create a picture of wide x high units."""
        self._image = Image.new("RGB", (wide * _DRAWN, high * _DRAWN), PAPER)
        self._draw = ImageDraw.Draw(self._image)

    def text(
        self, at: tuple[float, float], words: str, size: float = 12, anchor: str = "ls", colour: Colour = INK
    ) -> None:
        """Write one line of text at a point; the anchor is Pillow's, such as "ls" for left baseline."""
        self._draw.text(_scaled(at), words, colour, _font(round(size * _DRAWN)), anchor)

    def turned_text(self, at: tuple[float, float], words: str, size: float = 12, colour: Colour = INK) -> None:
        """Write one line of text upwards, centred at a point."""
        font = _font(round(size * _DRAWN))
        x0, y0, x1, y1 = (round(v) for v in font.getbbox(words, anchor="lt"))
        label = Image.new("L", (x1 - x0 + 4, y1 - y0 + 4))
        ImageDraw.Draw(label).text((2, 2), words, 255, font, "lt")
        label = label.transpose(Image.Transpose.ROTATE_90)
        x, y = _scaled(at)
        self._image.paste(colour, (round(x - label.width / 2), round(y - label.height / 2)), label)

    def line(self, points: Sequence[tuple[float, float]], colour: Colour = INK, wide: float = 1) -> None:
        """Draw a line through points; wide is its width."""
        self._draw.line([_scaled(point) for point in points], colour, round(wide * _DRAWN), "curve")

    def dot(self, at: tuple[float, float], radius: float, colour: Colour, edge: Colour = PAPER) -> None:
        """Draw a filled circle."""
        self._draw.circle(_scaled(at), radius * _DRAWN, colour, edge, _DRAWN)

    def cells(
        self, x0: float, y0: float, colours: UInt8[np.ndarray, "rows columns 3"], wide: float, high: float
    ) -> None:
        """Draw a grid of coloured cells.

        Args:
            x0: Left edge.
            y0: Upper edge.
            colours: uint8 (rows, columns, 3).
            wide: Width of a cell.
            high: Height of a cell.
        """
        rows, columns = colours.shape[:2]
        size = (round(columns * wide * _DRAWN), round(rows * high * _DRAWN))
        picture = Image.fromarray(colours).resize(size, Image.Resampling.NEAREST if wide >= 1 else Image.Resampling.BOX)
        self._image.paste(picture, (round(x0 * _DRAWN), round(y0 * _DRAWN)))

    def png(self) -> bytes:
        """Return the picture as PNG, with two pixels per unit."""
        wide, high = (side * _WRITTEN // _DRAWN for side in self._image.size)
        small = self._image.resize((wide, high), Image.Resampling.BOX)
        out = io.BytesIO()
        small.save(out, "PNG", optimize=True)
        return out.getvalue()


def colours(
    values: Float[np.ndarray, " *grid"], low: float, high: float, *, diverging: bool = False
) -> UInt8[np.ndarray, "*grid 3"]:
    """Return the colours of values.

    Args:
        values: (...); NaN becomes grey.
        low: Value of the first colour.
        high: Value of the last colour.
        diverging: From blue over white to red, linearly. Otherwise from white to blue by the square root, so that small
            values are visible.

    Returns:
        uint8 (..., 3).
    """
    stops = np.array(_DIVERGING if diverging else _SEQUENTIAL, np.float64)
    share = np.clip((np.nan_to_num(values) - low) / max(high - low, 1e-12), 0, 1)
    share = (share if diverging else np.sqrt(share)) * (len(stops) - 1)
    first = np.minimum(share.astype(int), len(stops) - 2)
    part = (share - first)[..., None]
    mixed = (1 - part) * stops[first] + part * stops[first + 1]
    return np.where(np.isnan(values)[..., None], EMPTY, mixed.round()).astype(np.uint8)


@lru_cache(maxsize=16)
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _scaled(point: tuple[float, float]) -> tuple[float, float]:
    return point[0] * _DRAWN, point[1] * _DRAWN
