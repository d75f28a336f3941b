"""Distinguish pixels in raster order from other sequences of numbers, such as outlines and tables.

In a picture, a pixel is similar to the pixel one row below and less similar to the one half a row further. So the
autocorrelation of the sequence has peaks at multiples of the row length, which need not be known. Outlines, boxes,
landmarks and labels have no such peaks after the means of a table's columns are subtracted.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from styleid.types import FloatArray

LEAST_NUMBERS = 256
"""Minimum number of pixels in which a person could be recognised; shorter sequences are not examined."""

_WINDOW = 1 << 16
_FAR = 1e9
_SHORTEST_ROW = 8
_ALIKE = 0.3
_PROMINENT = 0.2
_AS_ALIKE = 0.9
_ALIKE_MEANS = 0.5
_PROMINENT_MEANS = 0.35
"""Higher limits for running means, which are more similar by chance."""

_AVERAGED = 5
_FEW_TONES = 4


def as_numbers(words: Iterable[bytes]) -> FloatArray:
    """Parse words as numbers (n,), clipped to +-1e9, NaN as 0.

    Raises:
        ValueError: A word is no number.
    """
    return np.clip(np.nan_to_num(np.array([float(word) for word in words])), -_FAR, _FAR)


def is_raster(numbers: FloatArray, columns: int = 1) -> bool:
    """Return whether a sequence of numbers, or a part of it, repeats like the rows of a picture.

    Args:
        numbers: (n,).
        columns: Number of columns of the table that the sequence was read from. Repetition with the table's own row
            length is ignored: the rows of any table are similar.
    """
    windows = [numbers[at : at + _WINDOW] for at in range(0, len(numbers), _WINDOW)]
    return any(
        _has_rows(window, columns) or (_is_dither(window) and _has_rows(window, columns, averaged=True))
        for window in windows
        if len(window) >= LEAST_NUMBERS
    )


def is_raster_table(table: FloatArray) -> bool:
    """Return whether a table (rows, columns) is a picture.

    In a picture, neighbouring rows and neighbouring columns are similar after the means of the columns are subtracted.
    """
    centred = table - table.mean(0)
    if _is_dither(table.ravel()):
        return _has_rows(centred.ravel()[:_WINDOW], 1, averaged=True)
    spread: FloatArray = table.std(0)
    even: FloatArray = (centred / np.where(spread > 0, spread, 1)).ravel()
    return float(np.mean(even[1:] * even[:-1])) > _ALIKE and is_raster(even)


def is_outline(numbers: FloatArray) -> bool:
    """Return whether a sequence (n,) of x, y pairs is an outline: consecutive points are close to each other.

    If n is odd, the first number is skipped as a class number. Whole numbers between -128 and 255 are never an outline,
    because they may be pixels.
    """
    points = numbers[len(numbers) % 2 :].reshape(-1, 2)
    if are_bytes(numbers):
        return False
    size = float(np.hypot(*np.ptp(points, axis=0)))
    steps = np.hypot(*np.diff(points, axis=0).T)
    apart = float(np.median(np.abs(points[:, 0] - points[:, 1])))  # neighbouring pixels are similar, x and y are not
    return size > 0 and float(np.median(steps)) <= 0.1 * size and apart > 0.05 * size


def are_bytes(numbers: FloatArray) -> bool:
    """Return whether all numbers (n,) are whole and between -128 and 255."""
    whole = bool((numbers == np.round(numbers)).all())
    return whole and bool(numbers.min(initial=0) >= -128 and numbers.max(initial=0) <= 255)


def is_index(numbers: FloatArray) -> bool:
    """Return whether a sequence (n,) is an index.

    An index increases strictly, or consists of whole numbers that are all different or have at most two step sizes, as
    in a count that restarts.
    """
    steps = np.diff(numbers)
    if (steps > 0).all():
        return True
    if (numbers != np.round(numbers)).any():
        return False
    return len(np.unique(numbers)) == len(numbers) or len(np.unique(steps)) <= 2


def _is_dither(numbers: FloatArray) -> bool:
    return len(np.unique(numbers)) <= _FEW_TONES


def _has_rows(numbers: FloatArray, columns: int, *, averaged: bool = False) -> bool:
    """Return whether a sequence repeats. averaged: use running means, which turn a dither back into greys."""
    if averaged:
        numbers = np.convolve(numbers, np.ones(_AVERAGED) / _AVERAGED, "valid")
    least, prominent = (_ALIKE_MEANS, _PROMINENT_MEANS) if averaged else (_ALIKE, _PROMINENT)
    alike = _autocorrelation(numbers)
    around = np.lib.stride_tricks.sliding_window_view(np.pad(alike, 2, mode="edge"), 5).max(1)
    lengths = np.arange(_SHORTEST_ROW, min(len(numbers) // 6, len(alike) // 2 - 3))
    if columns > 1:
        every = alike[::columns]
        if any(_prominence(every, every, 1, length) > prominent for length in range(2, len(every) // 2)):
            return True
        lengths = lengths[lengths % columns > 0]
    peaks = lengths[(alike[lengths] >= around[lengths]) & (alike[lengths] > least)]
    return any(
        _prominence(alike, around, max(3, int(one) // 4), int(one)) > prominent and not _is_cycle(alike, int(one))
        for one in peaks
    )


def _is_cycle(alike: FloatArray, length: int) -> bool:
    """Return whether distant rows are as similar as neighbouring ones, as in a list that repeats."""
    farthest = (len(alike) - 1) // length * length
    return bool(alike[farthest] >= _AS_ALIKE * alike[length])


def _prominence(alike: FloatArray, around: FloatArray, near: int, length: int) -> float:
    """Return the prominence of the autocorrelation's peaks at `length` and at twice that lag.

    It is the smallest of three heights: of the first peak above the minimum before it, of the first and of the second
    above the minimum between them.
    """
    before, after = around[near:length].min(), around[length : 2 * length].min()
    return float(min(alike[length] - before, alike[length] - after, around[2 * length] - after))


def _autocorrelation(numbers: FloatArray) -> FloatArray:
    """Return the autocorrelation of a sequence for lags up to half its length; zeros if it is constant."""
    low, high = np.percentile(numbers, [1, 99])
    centred = np.clip(numbers, low, high)
    centred = centred - centred.mean()
    count, power = len(centred), float((centred * centred).mean())
    if power <= 1e-12 * max(1.0, float(high) ** 2):
        return np.zeros(count // 2 + 1)
    spectrum = np.fft.rfft(centred, 2 * count)
    sums = np.fft.irfft(np.abs(spectrum) ** 2)[: count // 2 + 1]
    return sums / (np.arange(count, count - len(sums), -1) * power)
