"""What a file says besides its picture (A7): metadata, embedded pictures, bytes that are still the original's."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image

from styleid.media.audit import find_leftovers
from styleid.media.containers.errors import BadFileError
from styleid.media.containers.jpeg import jpeg_parts
from styleid.media.formats.parse.jpeg_parts import find_gain_map
from styleid.types import ImageRGB

_JPEG_START = b"\xff\xd8\xff"
_SAMPLE_SIDE = 24
_SHOWS_FROM = 0.9
_MOST_EMBEDDED = 8
_CHANGED_FROM = 16


@dataclass(frozen=True)
class SideChannels:
    """Hold what was found beside the picture.

    identical: the file is the original, byte for byte. leftovers: metadata outside the allow-list, one line each;
    carried: those that the original has too. thumbnails: embedded pictures, without a gain map; showing_original: how
    many of them, or of the gain map where pixels changed, are more like the original than like the output.
    """

    identical: bool
    leftovers: tuple[str, ...]
    carried: tuple[str, ...]
    thumbnails: int
    showing_original: int

    @property
    def tells(self) -> bool:
        """Whether anything beside the picture may still say who it shows."""
        return bool(self.identical or self.leftovers or self.showing_original)


def look_behind(output: bytes, output_rgb: ImageRGB, original: bytes, original_rgb: ImageRGB) -> SideChannels:
    """Compare an output's bytes with its original's, and list what they hold besides the picture."""
    leftovers = tuple(find_leftovers(output, "safe"))
    before = set(find_leftovers(original, "safe")) if leftovers else set()
    gain_map = _gain_map(output)
    pictures = [p for p in embedded_pictures(output) if gain_map is None or not np.array_equal(p, gain_map)]
    shows = [_shows(picture, original_rgb, output_rgb) for picture in pictures]
    if gain_map is not None:
        shows.append(_shows(*_changed_part(gain_map, original_rgb, output_rgb)))
    carried = tuple(line for line in leftovers if line in before)
    return SideChannels(output == original, leftovers, carried, len(pictures), sum(shows))


def embedded_pictures(data: bytes) -> list[ImageRGB]:
    """Return the JPEG pictures that begin inside a file, thumbnails mostly, uint8 RGB."""
    found, at = [], data.find(_JPEG_START, 1)
    while at > 0 and len(found) < _MOST_EMBEDDED:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                with Image.open(io.BytesIO(data[at:])) as image:
                    found.append(np.asarray(image.convert("RGB")))
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
            pass  # three bytes that only look like the beginning of a picture
        at = data.find(_JPEG_START, at + 1)
    return found


def _gain_map(data: bytes) -> ImageRGB | None:
    """Return what a JPEG says is its gain map, uint8 RGB, None where it has none that can be read."""
    try:
        found = find_gain_map(data, jpeg_parts(data))
    except BadFileError:
        return None
    return None if found is None else next(iter(embedded_pictures(b"\0" + data[found.start : found.end])), None)


def _changed_part(gain_map: ImageRGB, original: ImageRGB, output: ImageRGB) -> tuple[ImageRGB, ImageRGB, ImageRGB]:
    """Cut from all three what lies around the changed pixels: elsewhere a gain map is like both pictures."""
    if original.shape != output.shape:
        return gain_map, original, output
    rows, columns = np.nonzero((np.abs(original.astype(np.int16) - output) > _CHANGED_FROM).any(2))
    if not len(rows):
        return gain_map, output, output
    (top, bottom), (left, right) = ((v.min(), v.max() + 1) for v in (rows, columns))
    across, down = (gain_map.shape[axis] / original.shape[axis] for axis in (1, 0))
    y0, x0 = int(top * down), int(left * across)
    y1, x1 = max(y0 + 1, round(bottom * down)), max(x0 + 1, round(right * across))
    return gain_map[y0:y1, x0:x1], original[top:bottom, left:right], output[top:bottom, left:right]


def _shows(small: ImageRGB, original: ImageRGB, output: ImageRGB) -> bool:
    """Say whether a small picture is an original rather than the output."""
    return _like(small, original) > max(_SHOWS_FROM, _like(small, output))


def _like(one: ImageRGB, other: ImageRGB) -> float:
    """Correlate two pictures at a few pixels' size, -1 to 1, in whichever quarter turn they are most alike."""
    size = (_SAMPLE_SIDE, _SAMPLE_SIDE)
    a, b = (np.asarray(cv2.resize(i, size, interpolation=cv2.INTER_AREA), np.float64) for i in (one, other))
    a, b = a - a.mean(), b - b.mean()
    scale = max(float(np.linalg.norm(a) * np.linalg.norm(b)), 1e-9)
    return max(float((np.rot90(a, turn) * b).sum()) / scale for turn in range(4))
