"""What a file says besides its picture (A7): metadata, embedded pictures, bytes that are still the original's."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image

from styleid.media.audit import find_leftovers
from styleid.types import ImageRGB

_JPEG_START = b"\xff\xd8\xff"
_SAMPLE_SIDE = 24
_SHOWS_FROM = 0.9
_MOST_EMBEDDED = 8


@dataclass(frozen=True)
class SideChannels:
    """Hold what was found beside the picture.

    identical: the file is the original, byte for byte. leftovers: metadata outside the allow-list, one line each;
    carried: those that the original has too. thumbnails: embedded pictures; showing_original: how many of them are more
    like the original than like the output.
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
    pictures = embedded_pictures(output)
    shows = [_like(small, original_rgb) > max(_SHOWS_FROM, _like(small, output_rgb)) for small in pictures]
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


def _like(one: ImageRGB, other: ImageRGB) -> float:
    """Correlate two pictures at a few pixels' size, -1 to 1, in whichever quarter turn they are most alike."""
    size = (_SAMPLE_SIDE, _SAMPLE_SIDE)
    a, b = (np.asarray(cv2.resize(i, size, interpolation=cv2.INTER_AREA), np.float64) for i in (one, other))
    a, b = a - a.mean(), b - b.mean()
    scale = max(float(np.linalg.norm(a) * np.linalg.norm(b)), 1e-9)
    return max(float((np.rot90(a, turn) * b).sum()) / scale for turn in range(4))
