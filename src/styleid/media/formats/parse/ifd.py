"""Read image file directories (IFDs), which TIFF files and EXIF blocks share.

Counts and offsets are checked against the data, and no directory of a chain is read twice.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from styleid.media.containers.errors import BadFileError, CutShortError

BYTE, ASCII, SHORT, LONG, RATIONAL, UNDEFINED, SRATIONAL = 1, 2, 3, 4, 5, 7, 10

FORMATS = {1: "B", 2: "B", 3: "H", 4: "I", 5: "II", 6: "b", 7: "B", 8: "h", 9: "i", 10: "ii", 11: "f", 12: "d",
            13: "I", 16: "Q", 17: "q", 18: "Q"}  # fmt: skip

EXIF_POINTER, GPS_POINTER, INTEROP_POINTER, SUB_IFDS = 34665, 34853, 40965, 330
ORIENTATION, X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT = 274, 282, 283, 296

Values = tuple[int | float, ...] | bytes


@dataclass(frozen=True)
class Field:
    """A tag of a directory.

    Attributes:
        tag: Its number.
        kind: Its type, such as `SHORT`.
        values: Numbers (for rationals, numerator and denominator in turn); bytes for BYTE, ASCII and UNDEFINED.
    """

    tag: int
    kind: int
    values: Values

    @property
    def count(self) -> int:
        """Number of values; a rational counts as one."""
        return len(self.values) // (2 if self.kind in (RATIONAL, SRATIONAL) else 1)


@dataclass(frozen=True)
class Directory:
    """An image file directory.

    Attributes:
        fields: Its fields by tag.
        ranges: Byte ranges (start, end) of the directory and of its values.
        next_offset: Offset of the next directory, 0 for none.
    """

    fields: dict[int, Field]
    ranges: tuple[tuple[int, int], ...]
    next_offset: int

    def ints(self, tag: int, default: Sequence[int] = ()) -> tuple[int, ...]:
        """Return a tag's values as ints, the default if it is missing or not numeric."""
        found = self.fields.get(tag)
        if found is None or isinstance(found.values, bytes):
            return tuple(default)
        return tuple(int(v) for v in found.values)

    def integer(self, tag: int, default: int) -> int:
        """Return a tag's first value as an int, the default if there is none."""
        return (self.ints(tag) or (default,))[0]

    def ratio(self, tag: int) -> float | None:
        """Return a tag's first value if it is a rational with a denominator other than 0, else None."""
        found = self.fields.get(tag)
        if found is None or found.kind not in (RATIONAL, SRATIONAL) or found.count < 1 or not found.values[1]:
            return None
        return float(found.values[0]) / float(found.values[1])


@dataclass(frozen=True)
class TiffReader:
    """Reader of a TIFF file or an EXIF block (without its "Exif" prefix).

    Attributes:
        data: The file or block.
        order: Byte order, "<" or ">".
        big: Whether it is a BigTIFF.
        first_offset: Offset of the first directory.
    """

    data: bytes
    order: str
    big: bool
    first_offset: int

    @classmethod
    def open(cls, data: bytes) -> TiffReader:
        """Read the header.

        Raises:
            BadFileError: It is no TIFF header.
        """
        order = {b"II": "<", b"MM": ">"}.get(data[:2])
        if order is None or len(data) < 8:
            raise BadFileError("it does not begin like a TIFF")
        magic = struct.unpack_from(order + "H", data, 2)[0]
        if magic == 42:
            return cls(data, order, False, struct.unpack_from(order + "I", data, 4)[0])
        if magic == 43 and len(data) >= 16 and struct.unpack_from(order + "HH", data, 4) == (8, 0):
            return cls(data, order, True, struct.unpack_from(order + "Q", data, 8)[0])
        raise BadFileError("it does not begin like a TIFF")

    @property
    def header_bytes(self) -> int:
        """Length of the header in bytes."""
        return 16 if self.big else 8

    def chain(self, limit: int = 1000) -> list[Directory]:
        """Return the main directories in order.

        Raises:
            BadFileError: The chain has a loop or more than `limit` directories, or a directory is damaged.
        """
        directories: list[Directory] = []
        seen: set[int] = set()
        offset = self.first_offset
        while offset:
            if offset in seen or len(seen) >= limit:
                raise BadFileError("the TIFF is damaged: its list of pages has a loop or is too long")
            seen.add(offset)
            directories.append(self.directory(offset))
            offset = directories[-1].next_offset
        return directories

    def directory(self, offset: int) -> Directory:
        """Read the directory at an offset.

        Raises:
            CutShortError: The directory, or a value of it, lies outside the data.
        """
        count_format, pointer, entry_bytes = ("Q", "Q", 20) if self.big else ("H", "I", 12)
        start = offset + struct.calcsize(count_format)
        if start > len(self.data):
            raise CutShortError("a directory of the TIFF or EXIF")
        count = struct.unpack_from(self.order + count_format, self.data, offset)[0]
        after = start + count * entry_bytes
        if after > len(self.data):
            raise CutShortError("a directory of the TIFF or EXIF")
        room = struct.calcsize(pointer)
        end = min(after + room, len(self.data))
        following = struct.unpack_from(self.order + pointer, self.data, after)[0] if end == after + room else 0
        fields: dict[int, Field] = {}
        ranges = [(offset, end)]
        for position in range(start, after, entry_bytes):
            tag, kind, values = struct.unpack_from(self.order + "HH" + pointer, self.data, position)
            unit = FORMATS.get(kind)
            if unit is None:
                fields.setdefault(tag, Field(tag, kind, b""))
                continue
            size = struct.calcsize("<" + unit) * values
            where = position + 4 + room
            if size > room:
                where = struct.unpack_from(self.order + pointer, self.data, where)[0]
                ranges.append((where, where + size))
            if where + size > len(self.data):
                raise CutShortError(f"the values of TIFF or EXIF tag {tag}")
            fields.setdefault(tag, Field(tag, kind, self._values(kind, unit, values, where)))
        return Directory(fields, tuple(ranges), following)

    def _values(self, kind: int, unit: str, count: int, where: int) -> Values:
        if kind in (BYTE, ASCII, UNDEFINED):
            return self.data[where : where + count]
        return struct.unpack_from(f"{self.order}{count * len(unit)}{unit[0]}", self.data, where)


def uncovered(data: bytes, ranges: Iterable[tuple[int, int]]) -> int:
    """Return the number of bytes other than 0 that no range covers.

    Args:
        data: The whole file.
        ranges: Byte ranges (start, end) in any order; they may overlap.
    """
    position = missing = 0
    for start, end in sorted(ranges):
        if start > position:
            missing += len(data[position:start].replace(b"\0", b""))
        position = max(position, end)
    return missing + len(data[position:].replace(b"\0", b""))
