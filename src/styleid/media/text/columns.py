"""Find pixels in the columns of tables: lines with other fields, JSON objects, and XML elements."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator

import numpy as np

from styleid.media.text.raster import LEAST_NUMBERS, as_numbers, is_index, is_raster, is_raster_table
from styleid.types import FloatArray

_VALUE = rb"[\"']?\s*(-?\d+\.?\d*(?:[eE][-+]?\d+)?)"
_KEYED = re.compile(rb"[\"']([^\"'\\\n]{1,40})[\"']\s*:\s*" + _VALUE)
_ELEMENTS = re.compile(rb"<([\w:.-]{1,40})(?:\s[^<>]*)?>\s*" + _VALUE + rb"\s*</")
_ATTRIBUTES = re.compile(rb"\s([\w:.-]{1,40})\s*=\s*" + _VALUE + rb"[\"']")
_COLOURS = re.compile(rb"rgba?\(\s*(\d+)[%,\s]+\d+[%,\s]+\d+")
_LENGTHS = re.compile(rb"\b(\d+)px")
_SEPARATORS = (b",", b"\t", b";", b"|", None)
_LEAST_ROWS = 16
_WIDE = 16


def find_columns(text: bytes) -> str:
    """Return a message if a column of numbers in a text may be pixels in raster order, else ""."""
    if any(is_raster(one) for one in _keyed(text) if not is_index(one)):
        return "it contains objects whose numbers repeat like the rows of a picture"
    if text.lstrip()[:1] in (b"{", b"[", b"<"):
        return ""
    table = _numeric_columns(text)
    if table is None:
        return ""
    wide = table.shape[1] >= _WIDE
    if (wide and is_raster_table(table)) or any(is_raster(one) for one in table.T if not is_index(one)):
        return "it contains columns of numbers that repeat like the rows of a picture"
    return ""


def _keyed(text: bytes) -> Iterator[FloatArray]:
    """Yield the numbers of each JSON key, XML element and attribute, of lengths in px and of red values in rgb()."""
    if b":" in text and (b'"' in text or b"'" in text):
        yield from _grouped(_KEYED.findall(text))
    if b"</" in text:
        yield from _grouped(_ELEMENTS.findall(text))
    if b"/>" in text or b"</" in text:
        yield from _grouped(_ATTRIBUTES.findall(text))
    if b"px" in text:
        yield from _grouped((b"", length) for length in _LENGTHS.findall(text))
    if b"rgb" in text:
        yield from _grouped((b"", red) for red in _COLOURS.findall(text))


def _grouped(pairs: Iterable[tuple[bytes, bytes]]) -> Iterator[FloatArray]:
    columns: defaultdict[bytes, list[bytes]] = defaultdict(list)
    for name, value in pairs:
        columns[name].append(value)
    for values in columns.values():
        if len(values) >= LEAST_NUMBERS:
            yield as_numbers(values)


def _numeric_columns(text: bytes) -> FloatArray | None:
    """Return those columns of a table that hold only numbers, (rows, columns); None if the lines are no table.

    The first line is skipped, because it may be a header.
    """
    lines = [line for line in text.replace(b'"', b"").splitlines() if line.strip()]
    if len(lines) < _LEAST_ROWS:
        return None
    separator = next((one for one in _SEPARATORS if one is None or one in lines[1]), None)
    rows = [line.split(separator) for line in lines]
    width = Counter(map(len, rows)).most_common(1)[0][0]
    rows = [row for row in rows[1:] if len(row) == width]
    if len(rows) < max(_LEAST_ROWS - 1, len(lines) // 2):
        return None
    columns = [column for one in zip(*rows, strict=True) if (column := _numbers(one)) is not None]
    return np.stack(columns, 1) if columns and len(columns) * len(rows) >= LEAST_NUMBERS else None


def _numbers(words: Iterable[bytes]) -> FloatArray | None:
    try:
        return as_numbers(words)
    except ValueError:
        return None
