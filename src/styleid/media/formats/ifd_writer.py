"""Build image file directories (IFDs), which TIFF files and EXIF blocks share."""

from __future__ import annotations

import struct
from collections.abc import Iterable

from styleid.media.formats.parse.ifd import FORMATS, Field


def build_directory(fields: Iterable[Field], at: int, next_offset: int = 0) -> bytes:
    """Return an IFD of classic TIFF, little-endian, with its longer values after it.

    Args:
        fields: The tags, in any order.
        at: Offset in the file at which the result will be written.
        next_offset: Offset of the next IFD, 0 for none.
    """
    ordered = sorted(fields, key=lambda f: f.tag)
    table = struct.pack("<H", len(ordered))
    values_at = at + 2 + 12 * len(ordered) + 4
    behind = b""
    for field in ordered:
        raw = _packed(field)
        if len(raw) <= 4:
            value = raw.ljust(4, b"\0")
        else:
            value = struct.pack("<I", values_at + len(behind))
            behind += raw + b"\0" * (len(raw) & 1)
        table += struct.pack("<HHI", field.tag, field.kind, field.count) + value
    return table + struct.pack("<I", next_offset) + behind


def _packed(field: Field) -> bytes:
    if isinstance(field.values, bytes):
        return field.values
    return struct.pack(f"<{len(field.values)}{FORMATS[field.kind][0]}", *field.values)
