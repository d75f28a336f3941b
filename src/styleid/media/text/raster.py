"""Tell sequences of numbers that are pixels in raster order from others, such as outlines and tables.

In a picture, what lies one row further is like what lies here, and what lies half a row further is less so: the
sequence's autocorrelation has peaks at the multiples of a row's length, whatever that is. Outlines, boxes, landmarks
and labels have none, once the means of a table's columns are taken out.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from styleid.types import FloatArray

LEAST_NUMBERS = 256
"""Fewer numbers make no picture in which a person could be told."""

_WINDOW = 1 << 16
_FAR = 1e9
_SHORTEST_ROW = 8
_ALIKE = 0.3
_PROMINENT = 0.2
_AS_ALIKE = 0.9
_ALIKE_MEANS = 0.5
_PROMINENT_MEANS = 0.35
"""Running means are alike by chance, too."""

_AVERAGED = 5
_FEW_TONES = 4


def as_numbers(words: Iterable[bytes]) -> FloatArray:
    """Return the numbers (n,) that words write, far ones brought near; raises ValueError where one writes none."""
    return np.clip(np.nan_to_num(np.array([float(word) for word in words])), -_FAR, _FAR)


def is_raster(numbers: FloatArray, columns: int = 1) -> bool:
    """Say whether a sequence (n,) of numbers repeats as the rows of a picture do, in part or as a whole.

    columns: how many columns the table has that the sequence was read from: that its rows are alike says nothing.
    """
    windows = [numbers[at : at + _WINDOW] for at in range(0, len(numbers), _WINDOW)]
    return any(
        _has_rows(window, columns) or (_is_dither(window) and _has_rows(window, columns, averaged=True))
        for window in windows
        if len(window) >= LEAST_NUMBERS
    )


def is_raster_table(table: FloatArray) -> bool:
    """Say whether a table (rows, columns) is a picture: its rows are alike and its columns, but for their means."""
    centred = table - table.mean(0)
    if _is_dither(table.ravel()):
        return _has_rows(centred.ravel()[:_WINDOW], 1, averaged=True)
    spread: FloatArray = table.std(0)
    even: FloatArray = (centred / np.where(spread > 0, spread, 1)).ravel()
    return float(np.mean(even[1:] * even[:-1])) > _ALIKE and is_raster(even)


def is_outline(numbers: FloatArray) -> bool:
    """Say whether a sequence (n,), after a leading class number where n is odd, is points that follow each other.

    Whole numbers as bytes have them are none.
    """
    points = numbers[len(numbers) % 2 :].reshape(-1, 2)
    if are_bytes(numbers):
        return False
    size = float(np.hypot(*np.ptp(points, axis=0)))
    steps = np.hypot(*np.diff(points, axis=0).T)
    apart = float(np.median(np.abs(points[:, 0] - points[:, 1])))  # neighbouring pixels are alike, x and y are not
    return size > 0 and float(np.median(steps)) <= 0.1 * size and apart > 0.05 * size


def are_bytes(numbers: FloatArray) -> bool:
    """Say whether numbers (n,) are whole and between -128 and 255."""
    whole = bool((numbers == np.round(numbers)).all())
    return whole and bool(numbers.min(initial=0) >= -128 and numbers.max(initial=0) <= 255)


def is_index(numbers: FloatArray) -> bool:
    """Say whether a sequence (n,) counts: it only goes up, or whole numbers are all different or start anew."""
    steps = np.diff(numbers)
    if (steps > 0).all():
        return True
    if (numbers != np.round(numbers)).any():
        return False
    return len(np.unique(numbers)) == len(numbers) or len(np.unique(steps)) <= 2


def _is_dither(numbers: FloatArray) -> bool:
    return len(np.unique(numbers)) <= _FEW_TONES


def _has_rows(numbers: FloatArray, columns: int, *, averaged: bool = False) -> bool:
    """Say whether a sequence repeats. averaged: take running means, in which a dither has its greys again."""
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
    """Say whether what lies many rows further is as much alike as the next row is, as in a list that starts anew."""
    farthest = (len(alike) - 1) // length * length
    return bool(alike[farthest] >= _AS_ALIKE * alike[length])


def _prominence(alike: FloatArray, around: FloatArray, near: int, length: int) -> float:
    """Return by how much a peak of the autocorrelation stands out on both sides, and at twice its place again."""
    before, after = around[near:length].min(), around[length : 2 * length].min()
    return float(min(alike[length] - before, alike[length] - after, around[2 * length] - after))


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
