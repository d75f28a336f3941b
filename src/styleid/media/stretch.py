"""See samples that use a small part of their range: 10 to 14 bits in 16-bit files, faint and dark pictures.

Sensors of 10 to 14 bits are often stored in 16-bit files without scaling. Shown as they are, such pictures are all but
black, and no face is found in them; viewers stretch them, so that people see them well.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from jaxtyping import Shaped, UInt, UInt8

Samples = Shaped[np.ndarray, "..."]
"""Numbers of a picture in any shape and of any type, which the signature or the docstring states."""

_MOST_PIXELS, _MOST_PIXELS_8_BITS = 1 << 16, 1 << 11
_OUTSIDE = 0.001
_STEPS = 8
_LOW_SHARE, _LOW_SHARE_8_BITS, _LEAST_8_BITS = 0.5, 0.125, 6


@dataclass(frozen=True)
class Span:
    """Hold the part of a range that samples use: low is seen as black, high as white; low < high."""

    low: int
    high: int

    def to_8_bits(self, samples: UInt[np.ndarray, "*shape"]) -> UInt8[np.ndarray, "*shape"]:
        """Return unsigned samples of any shape, stretched to uint8; what lies outside is cut off."""
        return np.take(_table(self.low, self.high, int(np.iinfo(samples.dtype).max)), samples)

    def from_8_bits(self, values: UInt8[np.ndarray, "*shape"], dtype: Any) -> UInt[np.ndarray, "*shape"]:
        """Undo `to_8_bits` for uint8 values: the nearest samples, of the type given."""
        width = self.high - self.low
        return (self.low + (values.astype(np.uint32) * width + 127) // 255).astype(dtype)


def find_span(samples: UInt[np.ndarray, "..."], bits: int) -> Span | None:
    """Return the span that samples use if that is a small part of their range, else None.

    samples: unsigned, any shape. bits: their depth, 1 to 16. Small is less than half of the range, at 8 bits less than
    an eighth but more than noise, between the 0.1th and the 99.9th percentile. Above 8 bits, samples at either end of
    the range do not count: frames, masks and dead pixels. The span's ends are rounded outwards, so that a few changed
    pixels leave it as it is.
    """
    top = (1 << bits) - 1
    used = _thinned(samples, _MOST_PIXELS if bits > 8 else _MOST_PIXELS_8_BITS)
    if bits > 8:
        used = used[(used > 0) & (used < top)]
    if used.size == 0:
        return None
    shares = np.cumsum(np.bincount(used, minlength=top + 1)) / used.size
    low = int(np.searchsorted(shares, _OUTSIDE, side="right"))
    high = int(np.searchsorted(shares, 1 - _OUTSIDE))
    least, most = (_LEAST_8_BITS, top * _LOW_SHARE_8_BITS) if bits == 8 else (1, top * _LOW_SHARE)
    if not least <= high - low < most:
        return None
    step = max(1, (1 << ((high - low).bit_length() - 1)) // _STEPS)
    return Span(low // step * step, min(top, -(-high // step) * step))


def _thinned(samples: UInt[np.ndarray, "..."], most: int) -> UInt[np.ndarray, " n"]:
    """Return about `most` pixels' samples at most, evenly spread, flat."""
    if samples.ndim == 1:
        return samples
    step = max(1, round(np.sqrt(samples.shape[0] * samples.shape[1] / most)))
    return samples[::step, ::step].reshape(-1)


@lru_cache(maxsize=16)
def _table(low: int, high: int, top: int) -> UInt8[np.ndarray, " n"]:
    values = np.clip(np.arange(top + 1, dtype=np.int64) - low, 0, high - low)
    return ((values * 255 + (high - low) // 2) // (high - low)).astype(np.uint8)
