"""Find pixels that are written as numbers in JSON, XML, CSV or plain text."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from styleid.media.text.columns import find_columns
from styleid.media.text.raster import (
    LEAST_NUMBERS,
    are_bytes,
    as_numbers,
    is_index,
    is_outline,
    is_raster,
    is_raster_table,
)
from styleid.media.text.runs import alphabet, long_runs
from styleid.media.text.signatures import SIGNATURE
from styleid.types import FloatArray

_NUMERIC = alphabet(b"0123456789+-.eE \t\r\n,;:[](){}\"'|_/<>=&#*~^@!$%?\\")
_DIGITS = b"0123456789+-.eE"
_SPACED = bytes(code if code in _DIGITS else 32 for code in range(256))
_NUMBER = re.compile(rb"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
_COUNTING_KEY = re.compile(rb"[\"']\d{1,8}[\"']\s*:")
_GEOMETRY = re.compile(
    rb"(?:segmentations?|polygons?|polylines?|points?(?:_[xy])?|pts|keypoints?|kpts|landmarks?|contours?|vertices|"
    rb"bbox(?:es)?|boxes|exterior|interior|outlines?|hull|xs|ys|dp_[uvxyi])[\"'\s:=>]*$",
    re.IGNORECASE,
)
_KEY_LENGTH = 48
_WIDE = 16
_NUMBERED = re.compile(rb"(?:[ \t]\d{1,8}:[-+]?[\d.]+(?:[eE][-+]?\d+)?){16,}")
"""Values with their indices, such as 1:0.5 2:0.7 in LIBSVM's format."""
_DECIMAL_COMMA = re.compile(rb"(?<![^;\t\r\n\"])(-?\d+),(\d+)(?=[;\t\r\n\"]|$)")
_DIGIT_ROWS = re.compile(rb"^(?:\d{24,}\r?(?:\n|\Z)){16,}", re.MULTILINE)


def find_numbers(text: bytes) -> str:
    """Return a message if numbers in a text may be pixels, else "".

    Numbers that repeat like the rows of a picture may be pixels, in an array, a table or one column of a table. A long
    array that does not repeat is accepted only if its name says that it is geometry, or if its numbers are indices or
    the points of an outline.
    """
    if len(_COUNTING_KEY.findall(text[: 1 << 16])) >= LEAST_NUMBERS // 4:
        text = _COUNTING_KEY.sub(b"", text)
    text = _NUMBERED.sub(lambda run: re.sub(rb"\d+:", b"", run[0]), text)
    if text.count(b";") + text.count(b"\t") >= LEAST_NUMBERS // 2:
        text = _DECIMAL_COMMA.sub(rb"\1.\2", text)
    if any(map(_are_rows_of_digits, _DIGIT_ROWS.findall(text))):
        return "it contains rows of digits that repeat like the rows of a picture"
    alike: defaultdict[int, list[FloatArray]] = defaultdict(list)
    for begin, end in long_runs(text, _NUMERIC, 2 * _WIDE - 1):
        span = text[begin:end]
        most = 1 + len(span.translate(None, _DIGITS))  # skip text with too few separators before parsing it
        if most < _WIDE:
            continue
        named = _GEOMETRY.search(text[max(0, begin - _KEY_LENGTH) : begin]) is not None
        if most >= LEAST_NUMBERS and (reason := _array_reason(span, named=named)):
            return reason
        if not named and len(row := _numbers(span)) < LEAST_NUMBERS:
            alike[len(row)].append(row)
    if any(len(rows) >= _WIDE and is_raster_table(np.stack(rows)) for count, rows in alike.items() if count >= _WIDE):
        return "it contains lists of numbers that repeat like the rows of a picture"
    return find_columns(text)


def _are_rows_of_digits(lines: bytes) -> bool:
    """Return whether lines of equal length are the rows of a picture with one digit for each pixel."""
    rows = lines.split()
    if len({len(row) for row in rows}) > 1:
        return False
    return is_raster_table(np.stack([np.frombuffer(row, np.uint8) - 48.0 for row in rows]))


def _array_reason(span: bytes, *, named: bool) -> str:
    rows = [row for part in re.split(rb"\]" if b"[" in span else rb"\n", span) if len(row := _numbers(part))]
    count = sum(map(len, rows))
    if count < LEAST_NUMBERS:
        return ""
    if _are_picture_bytes(rows):
        return f"it contains {count} numbers that are the bytes of a picture"
    long = [row for row in rows if len(row) >= LEAST_NUMBERS]
    if any(map(is_raster, long)) or _is_table_of_pixels(rows):
        return f"it contains {count} numbers that repeat like the rows of a picture"
    if not named and any(not (is_index(row) or is_outline(row)) for row in long):
        return f"it contains an array of {max(map(len, long))} numbers, which may be pixels"
    return ""


def _numbers(text: bytes) -> FloatArray:
    try:
        return as_numbers(text.translate(_SPACED).split())
    except ValueError:  # for example a date
        return as_numbers(_NUMBER.findall(text))


def _are_picture_bytes(rows: Sequence[FloatArray]) -> bool:
    numbers = np.concatenate(rows)
    if not are_bytes(numbers):
        return False
    data = (numbers.astype(np.int64) & 255).astype(np.uint8).tobytes()
    return SIGNATURE.search(data) is not None


def _is_table_of_pixels(rows: Sequence[FloatArray]) -> bool:
    """Return whether all rows together, or one column of them, are pixels in raster order."""
    if len(rows) < 2:
        return False
    if len({len(row) for row in rows}) > 1:
        return is_raster(np.concatenate(rows))
    table = np.stack(rows)
    if table.shape[1] >= _WIDE:
        return is_raster_table(table)
    return is_raster(table.ravel(), table.shape[1]) or any(is_raster(one) for one in table.T if not is_index(one))
