"""Read the items of AVIF and HEIC files (ISO/IEC 14496-12 and 23008-12): type, name, data, properties, references."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass, field

from styleid.media.containers.errors import BadFileError, CutShortError
from styleid.media.containers.iso import Box, iso_boxes

_TURNS: dict[tuple[int, int | None], int] = {
    (0, None): 1, (0, 1): 2, (2, None): 3, (0, 0): 4, (3, 1): 5, (3, None): 6, (3, 0): 7, (1, None): 8,
    (2, 1): 4, (2, 0): 2, (1, 1): 7, (1, 0): 5,
}  # fmt: skip
"""EXIF orientation by quarter turns to the left (irot) and the mirror axis applied after them (imir; None for none)."""


@dataclass
class Item:
    """An item of a HEIF file.

    Attributes:
        kind: Its type, four bytes.
        name: Its name; for mime items followed by the content type.
        places: Byte ranges (start, end) of its data in the file.
        properties: Its properties as (type, body), in order.
        links: Its references as (type, numbers of the target items).
    """

    kind: bytes = b""
    name: bytes = b""
    places: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    properties: list[tuple[bytes, bytes]] = field(default_factory=list[tuple[bytes, bytes]])
    links: list[tuple[bytes, tuple[int, ...]]] = field(default_factory=list[tuple[bytes, tuple[int, ...]]])

    def property_body(self, kind: bytes) -> bytes | None:
        """Return the body of the first property of a type, None if there is none."""
        return next((body for name, body in self.properties if name == kind), None)


@dataclass(frozen=True)
class HeifFile:
    """The structure of a HEIF file.

    Attributes:
        boxes: Top-level boxes.
        brands: The major brand, then the compatible brands.
        meta: Boxes in the meta box.
        items: Items by their number.
        primary: Number of the item that is shown.
    """

    boxes: tuple[Box, ...]
    brands: tuple[bytes, ...]
    meta: tuple[Box, ...]
    items: dict[int, Item]
    primary: int

    def picture(self) -> Item:
        """Return the coded picture of the primary item: the item itself, or the first tile of a grid.

        Raises:
            BadFileError: There is no such item.
        """
        item = self.items.get(self.primary)
        seen: set[int] = set()
        while item is not None and item.kind in (b"grid", b"iden", b"iovl"):
            target = next((ids[0] for kind, ids in item.links if kind == b"dimg" and ids), 0)
            if target in seen:
                break
            seen.add(target)
            item = self.items.get(target)
        if item is None:
            raise BadFileError("the file is damaged: it names no picture to show")
        return item


_OF_A_PICTURE = (b"ftyp", b"meta", b"mdat", b"free", b"skip")


def further_parts(file: HeifFile, read: int = -1) -> set[str]:
    """Return names of the top-level boxes that are no part of the picture, such as a video.

    Args:
        file: The structure of the file.
        read: Offset of the body of a box that is read and not to be named; -1 for none.
    """
    kinds = {box.kind for box in file.boxes if box.start != read} - set(_OF_A_PICTURE)
    return {"a video" if kind == b"mpvd" else f"a box {kind.decode('latin-1')!r}" for kind in kinds}


def read_heif(data: bytes) -> HeifFile:
    """Parse the structure of a HEIF file.

    Raises:
        BadFileError: It is damaged or truncated.
    """
    try:
        return _read(data)
    except struct.error as error:
        raise CutShortError("a box") from error


def _read(data: bytes) -> HeifFile:
    boxes = iso_boxes(data)
    kind = next((b for b in boxes if b.kind == b"ftyp"), None)
    meta = next((b for b in boxes if b.kind == b"meta"), None)
    if kind is None or meta is None:
        raise BadFileError("the file is damaged: it has no list of its pictures")
    brands = data[kind.start : kind.end]
    parts = iso_boxes(data, meta.start + 4, meta.end)
    items: dict[int, Item] = {}
    primary = 0
    store = next((b.start for b in parts if b.kind == b"idat"), None)
    for part in parts:
        if part.kind == b"pitm":
            primary = struct.unpack_from(">H" if data[part.start] == 0 else ">I", data, part.start + 4)[0]
        elif part.kind == b"iinf":
            _read_infos(data, part, items)
        elif part.kind == b"iloc":
            _read_places(data, part, items, store)
        elif part.kind == b"iref":
            _read_links(data, part, items)
    for part in parts:
        if part.kind == b"iprp":
            _read_properties(data, part, items)
    names = (brands[:4], *(brands[i : i + 4] for i in range(8, len(brands), 4)))
    return HeifFile(tuple(boxes), names, tuple(parts), items, primary)


def _read_infos(data: bytes, box: Box, items: dict[int, Item]) -> None:
    start = box.start + (6 if data[box.start] == 0 else 8)
    for info in iso_boxes(data, start, box.end):
        if info.kind != b"infe" or data[info.start] < 2:
            continue
        wide = data[info.start] >= 3
        number = struct.unpack_from(">I" if wide else ">H", data, info.start + 4)[0]
        at = info.start + (10 if wide else 8)
        item = items.setdefault(number, Item())
        item.kind, item.name = data[at : at + 4], data[at + 4 : info.end].rstrip(b"\0")


def _read_places(data: bytes, box: Box, items: dict[int, Item], store: int | None) -> None:
    version, sizes = data[box.start], struct.unpack_from(">H", data, box.start + 4)[0]
    offset_bytes, length_bytes, base_bytes, index_bytes = (sizes >> shift & 15 for shift in (12, 8, 4, 0))
    position = box.start + 6

    def number(width: int) -> int:
        nonlocal position
        if position + width > box.end:
            raise CutShortError("the AVIF's or HEIC's list of items")
        position += width
        return int.from_bytes(data[position - width : position], "big")

    for _ in range(number(2 if version < 2 else 4)):
        item = items.setdefault(number(2 if version < 2 else 4), Item())
        method = number(2) & 15 if version in (1, 2) else 0
        number(2)
        base = number(base_bytes)
        if method == 1:
            base += store or 0
        for _ in range(number(2)):
            if version in (1, 2):
                number(index_bytes)
            start = base + number(offset_bytes)
            length = number(length_bytes)
            if start + length > len(data):
                raise CutShortError("the AVIF's or HEIC's pixels")
            item.places.append((start, start + length if length else len(data)))


def _read_links(data: bytes, box: Box, items: dict[int, Item]) -> None:
    code, width = (">H", 2) if data[box.start] == 0 else (">I", 4)
    for link in iso_boxes(data, box.start + 4, box.end):
        source = struct.unpack_from(code, data, link.start)[0]
        count = struct.unpack_from(">H", data, link.start + width)[0]
        targets = struct.unpack_from(f">{count}{code[1]}", data, link.start + width + 2)
        items.setdefault(source, Item()).links.append((link.kind, targets))


def _read_properties(data: bytes, box: Box, items: dict[int, Item]) -> None:
    parts = iso_boxes(data, box.start, box.end)
    held = [
        (p.kind, data[p.start : p.end]) for b in parts if b.kind == b"ipco" for p in iso_boxes(data, b.start, b.end)
    ]
    for part in parts:
        if part.kind != b"ipma":
            continue
        version, flags = data[part.start], data[part.start + 3]
        position = part.start + 8
        for _ in range(struct.unpack_from(">I", data, part.start + 4)[0]):
            number = struct.unpack_from(">H" if version < 1 else ">I", data, position)[0]
            position += 2 if version < 1 else 4
            count = data[position] if position < part.end else 0
            position += 1
            for _ in range(count):
                code, width, number_bits = (">H", 2, 0x7FFF) if flags & 1 else (">B", 1, 0x7F)
                index: int = struct.unpack_from(code, data, position)[0] & number_bits
                position += width
                if 0 < index <= len(held):
                    items.setdefault(number, Item()).properties.append(held[index - 1])
            if position > part.end:
                raise CutShortError("the AVIF's or HEIC's properties")


def colour_points(item: Item) -> tuple[int, int, int, bool] | None:
    """Return primaries, transfer, matrix and whether the range is full, from an item's nclx property if it has one."""
    for kind, body in item.properties:
        if kind == b"colr" and body[:4] == b"nclx" and len(body) >= 11:
            primaries, transfer, matrix = struct.unpack_from(">HHH", body, 4)
            return primaries, transfer, matrix, bool(body[10] & 0x80)
    return None


def orientation_of(item: Item) -> int:
    """Return the EXIF orientation, 1 to 8, that equals an item's rotations and mirrorings, in any number and order."""
    turns, mirror = 0, None
    for kind, body in item.properties:
        if kind == b"irot" and body:
            quarter = body[0] & 3
            turns = (turns + (quarter if mirror is None else -quarter)) & 3
        elif kind == b"imir" and body:
            axis = body[0] & 1
            if mirror is None:
                mirror = axis
            else:
                turns, mirror = (turns + (0 if axis == mirror else 2)) & 3, None
    return _TURNS[turns, mirror]


def all_properties(data: bytes, meta: Iterable[Box]) -> list[tuple[bytes, bytes]]:
    """Return all properties of the file as (type, body), also those that no item uses."""
    return [(p.kind, data[p.start : p.end]) for b in meta if b.kind == b"iprp" for c in iso_boxes(data, b.start, b.end)
            if c.kind == b"ipco" for p in iso_boxes(data, c.start, c.end)]  # fmt: skip
