"""Attack A7: what a file contains besides its picture, such as metadata and embedded pictures."""

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
    """What was found in a file besides its picture.

    Attributes:
        identical: Whether the file is equal to the original.
        leftovers: Metadata outside the allow-list, one line each.
        carried: Those of `leftovers` that the original has, too.
        thumbnails: Number of embedded pictures, without the gain map.
        showing_original: Number of embedded pictures that are more similar to the original than to the output. It
            includes the gain map if that holds where pixels were changed.
    """

    identical: bool
    leftovers: tuple[str, ...]
    carried: tuple[str, ...]
    thumbnails: int
    showing_original: int

    @property
    def may_identify(self) -> bool:
        """Whether anything besides the picture may reveal who is shown."""
        return bool(self.identical or self.leftovers or self.showing_original)


def find_side_channels(output: bytes, output_rgb: ImageRGB, original: bytes, original_rgb: ImageRGB) -> SideChannels:
    """Find what an output contains besides its picture, and compare it with the original.

    Args:
        output: The file of the output.
        output_rgb: Its picture.
        original: The file of the original.
        original_rgb: Its picture.
    """
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
    """Return the JPEG pictures inside a file, such as thumbnails, as uint8 RGB."""
    found, at = [], data.find(_JPEG_START, 1)
    while at > 0 and len(found) < _MOST_EMBEDDED:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                with Image.open(io.BytesIO(data[at:])) as image:
                    found.append(np.asarray(image.convert("RGB")))
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
            pass  # these three bytes do not begin a picture
        at = data.find(_JPEG_START, at + 1)
    return found


def _gain_map(data: bytes) -> ImageRGB | None:
    """Return the gain map of a JPEG, uint8 RGB; None if it has none that can be read."""
    try:
        found = find_gain_map(data, jpeg_parts(data))
    except BadFileError:
        return None
    return None if found is None else next(iter(embedded_pictures(b"\0" + data[found.start : found.end])), None)


def _changed_part(gain_map: ImageRGB, original: ImageRGB, output: ImageRGB) -> tuple[ImageRGB, ImageRGB, ImageRGB]:
    """Cut the bounding box of the changed pixels from all three. Elsewhere, a gain map is similar to both pictures."""
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
    """Return whether a small picture shows the original, and is less similar to the output."""
    return _like(small, original) > max(_SHOWS_FROM, _like(small, output))


def _like(one: ImageRGB, other: ImageRGB) -> float:
    """Return the correlation of two pictures at 24 x 24 px, -1 to 1, in the rotation in which it is highest."""
    size = (_SAMPLE_SIDE, _SAMPLE_SIDE)
    a, b = (np.asarray(cv2.resize(i, size, interpolation=cv2.INTER_AREA), np.float64) for i in (one, other))
    a, b = a - a.mean(), b - b.mean()
    scale = max(float(np.linalg.norm(a) * np.linalg.norm(b)), 1e-9)
    return max(float((np.rot90(a, turn) * b).sum()) / scale for turn in range(4))
