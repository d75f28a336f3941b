"""Tell sequences of numbers that are pixels in raster order from others, such as outlines and tables.

In a picture, what lies one row further is like what lies here, and what lies half a row further is less so: the
sequence's autocorrelation has peaks at the multiples of a row's length, whatever that is. Outlines, boxes, landmarks
and labels have none, once the means of a table's columns are taken out.
"""

from __future__ import annotations

import numpy as np

from styleid.types import FloatArray

LEAST_NUMBERS = 256
"""Fewer numbers make no picture in which a person could be told."""

_WINDOW = 1 << 16
_SHORTEST_ROW = 8
_ALIKE = 0.3
_PROMINENT = 0.2
_AVERAGED = 5
_FEW_TONES = 4


def is_raster(numbers: FloatArray, columns: int = 1) -> bool:
    """Say whether a sequence (n,) of numbers repeats as the rows of a picture do, in part or as a whole.

    columns: how many columns the table has that the sequence was read from: that its rows are alike says nothing.
    """
    finite = numbers[np.isfinite(numbers)]
    windows = [finite[at : at + _WINDOW] for at in range(0, len(finite), _WINDOW)]
    return any(
        _has_rows(window, columns) or (_is_dither(window) and _has_rows(_averaged(window), columns))
        for window in windows
        if len(window) >= LEAST_NUMBERS
    )


def is_raster_table(table: FloatArray) -> bool:
    """Say whether a table (rows, columns) is a picture: its rows are alike and its columns, but for their means."""
    centred = table - table.mean(0)
    if _is_dither(table.ravel()):
        return is_raster(_averaged(centred.ravel()))
    spread = table.std(0)
    even = (centred / np.where(spread > 0, spread, 1)).ravel()
    return float(np.mean(even[1:] * even[:-1])) > _ALIKE and is_raster(even)


def is_outline(numbers: FloatArray) -> bool:
    """Say whether a sequence (n,), after a leading class number where n is odd, is points that follow each other.

    Whole numbers as bytes have them are none.
    """
    points = numbers[len(numbers) % 2 :].reshape(-1, 2)
    if not np.isfinite(points).all() or are_bytes(numbers):
        return False
    size = float(np.hypot(*np.ptp(points, axis=0)))
    steps = np.hypot(*np.diff(points, axis=0).T)
    return size > 0 and float(np.median(steps)) <= 0.1 * size


def are_bytes(numbers: FloatArray) -> bool:
    """Say whether numbers (n,) are whole and between -128 and 255."""
    whole = np.isfinite(numbers).all() and (numbers == np.round(numbers)).all()
    return bool(whole) and numbers.min(initial=0) >= -128 and numbers.max(initial=0) <= 255


def is_index(numbers: FloatArray) -> bool:
    """Say whether a sequence (n,) counts: whole numbers that are all different, or that go up or start anew."""
    if not np.isfinite(numbers).all() or (numbers != np.round(numbers)).any():
        return False
    return len(np.unique(numbers)) == len(numbers) or len(np.unique(np.diff(numbers))) <= 2


def _is_dither(numbers: FloatArray) -> bool:
    return len(np.unique(numbers)) <= _FEW_TONES


def _averaged(numbers: FloatArray) -> FloatArray:
    """Return running means, in which a dithered picture has its greys again."""
    return np.convolve(numbers, np.ones(_AVERAGED) / _AVERAGED, "valid")


def _has_rows(numbers: FloatArray, columns: int) -> bool:
    alike = _autocorrelation(numbers)
    around = np.lib.stride_tricks.sliding_window_view(np.pad(alike, 2, mode="edge"), 5).max(1)
    lengths = np.arange(_SHORTEST_ROW, min(len(numbers) // 6, len(alike) // 2 - 3))
    if columns > 1:
        every = alike[::columns]
        if any(_is_row(every, every, 1, length) for length in range(2, len(every) // 2)):
            return True
        lengths = lengths[lengths % columns > 0]
    peaks = lengths[(alike[lengths] >= around[lengths]) & (alike[lengths] > _ALIKE)]
    return any(_is_row(alike, around, max(3, int(length) // 4), int(length)) for length in peaks)


def _is_row(alike: FloatArray, around: FloatArray, near: int, length: int) -> bool:
    """Say whether a peak of the autocorrelation stands out from both sides, and comes again at twice its place."""
    before, after = around[near:length].min(), around[length : 2 * length].min()
    return min(alike[length] - before, alike[length] - after, around[2 * length] - after) > _PROMINENT


def _autocorrelation(numbers: FloatArray) -> FloatArray:
    """Return how alike a sequence is to itself at lags up to half its length; zeros where it is constant."""
    low, high = np.percentile(numbers, [1, 99])
    centred = np.clip(numbers, low, high)
    centred = centred - centred.mean()
    count, power = len(centred), float((centred * centred).mean())
    if power <= 1e-12 * max(1.0, float(high) ** 2):
        return np.zeros(count // 2 + 1)
    spectrum = np.fft.rfft(centred, 2 * count)
    sums = np.fft.irfft(np.abs(spectrum) ** 2)[: count // 2 + 1]
    return sums / (np.arange(count, count - len(sums), -1) * power)
