"""Stretch samples that use a small part of their range: 10 to 14 bits in 16-bit files, faint and dark pictures.

Samples of 10 to 14 bits are often stored in 16-bit files without scaling. Without stretching, such pictures are almost
black and the detector finds no face in them, but viewers stretch them, so people see the faces.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from jaxtyping import Shaped, UInt, UInt8

Samples = Shaped[np.ndarray, "..."]
"""Samples of a picture, of any shape and type; the signature or the docstring states which."""

_MOST_PIXELS, _MOST_PIXELS_8_BITS = 1 << 16, 1 << 11
_OUTSIDE = 0.001
_STEPS = 8
_LOW_SHARE, _LOW_SHARE_8_BITS, _LEAST_8_BITS = 0.5, 0.125, 6


@dataclass(frozen=True)
class Span:
    """The part of their range that samples use: `low` is shown as black, `high` as white; low < high."""

    low: int
    high: int

    def to_8_bits(self, samples: UInt[np.ndarray, "*shape"]) -> UInt8[np.ndarray, "*shape"]:
        """Return unsigned samples of any shape, stretched to uint8; values outside the span are clipped."""
        return np.take(_table(self.low, self.high, int(np.iinfo(samples.dtype).max)), samples)

    def from_8_bits(self, values: UInt8[np.ndarray, "*shape"], dtype: Any) -> UInt[np.ndarray, "*shape"]:
        """Return the samples that `to_8_bits` shows as the given values.

        Args:
            values: uint8, of any shape.
            dtype: Unsigned type of the samples.
        """
        width = self.high - self.low
        return (self.low + (values.astype(np.uint32) * width + 127) // 255).astype(dtype)


def find_span(samples: UInt[np.ndarray, "..."], bits: int) -> Span | None:
    """Return the span that samples use if that is a small part of their range, else None.

    The span lies between the 0.1th and the 99.9th percentile. It counts as small if it is less than half of the range;
    at 8 bits, if it is less than an eighth, but at least 6 levels, so that noise is not stretched. Above 8 bits,
    samples at either end of the range are ignored, because they are frames, masks or dead pixels. The ends are rounded
    outwards, so that a few changed pixels do not change the span.

    Args:
        samples: Unsigned, of any shape.
        bits: Their depth, 1 to 16.
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
    """Return the samples of about `most` evenly spaced pixels, flattened; one-dimensional samples are all kept."""
    if samples.ndim == 1:
        return samples
    step = max(1, round(np.sqrt(samples.shape[0] * samples.shape[1] / most)))
    return samples[::step, ::step].reshape(-1)


@lru_cache(maxsize=16)
def _table(low: int, high: int, top: int) -> UInt8[np.ndarray, " n"]:
    values = np.clip(np.arange(top + 1, dtype=np.int64) - low, 0, high - low)
    return ((values * 255 + (high - low) // 2) // (high - low)).astype(np.uint8)
