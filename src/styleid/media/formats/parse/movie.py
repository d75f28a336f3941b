"""Find everything in an MP4 file except one silent video track, as motion photos are written.

Only listed boxes are allowed, each in its place. Boxes that players ignore, names, dates, and bytes of `mdat` that
belong to no frame are leftovers. The content of the frames is not examined.
"""

from __future__ import annotations

import struct

from styleid.media.containers.errors import BadFileError
from styleid.media.containers.iso import Box, iso_boxes
from styleid.media.counts import counted
from styleid.media.provenance import ISO_XMP, PACKET

_PARENTS = frozenset({b"moov", b"trak", b"edts", b"mdia", b"minf", b"dinf", b"stbl"})
_ALLOWED: dict[bytes, frozenset[bytes]] = {
    b"": frozenset({b"ftyp", b"free", b"wide", b"mdat", b"moov", b"uuid"}),
    b"moov": frozenset({b"mvhd", b"trak", b"udta"}),
    b"trak": frozenset({b"tkhd", b"edts", b"mdia"}),
    b"edts": frozenset({b"elst"}),
    b"mdia": frozenset({b"mdhd", b"hdlr", b"minf"}),
    b"minf": frozenset({b"vmhd", b"dinf", b"stbl"}),
    b"dinf": frozenset({b"dref"}),
    b"stbl": frozenset(b"stsd stts stss ctts cslg stsc stsz stco co64 sdtp".split()),
}
_ENTRIES = frozenset({b"avc1", b"hvc1", b"hev1"})
_IN_ENTRY = frozenset(b"avcC hvcC colr pasp btrt fiel".split())
_ENTRY_BYTES, _NAME_AT = 78, 42
_NO_TAGS = bytes.fromhex(
    "000000356d657461000000000000002168646c7200000000000000006d6469726170706c00000000000000000000000008696c7374"
)
"""User data that FFmpeg writes into a file without tags: an empty list."""
_EXACT = {
    b"free": b"",
    b"wide": b"",
    b"uuid": ISO_XMP + PACKET,
    b"udta": _NO_TAGS,
    b"hdlr": b"\0\0\0\0\0\0\0\0vide" + bytes(12) + b"VideoHandler\0",
    b"dref": b"\0\0\0\0\0\0\0\x01\0\0\0\x0curl \0\0\0\x01",
}
_BRANDS = frozenset(b"isom iso2 iso4 iso5 iso6 avc1 hvc1 mp41 mp42".split())


def movie_leftovers(data: bytes) -> list[str]:
    """List everything in an MP4 except one video track and the mark of generated content, one line each.

    Raises:
        BadFileError: It is no MP4.
    """
    found: list[str] = []
    leaves: list[Box] = []
    _look(data, iso_boxes(data), b"", found, leaves)
    kinds = [box.kind for box in leaves]
    found += [f"a second {kind.decode()}" for kind in (b"mdat", b"uuid", b"tkhd") if kinds.count(kind) > 1]
    if kinds.count(b"mdat") == kinds.count(b"stsz") == 1:
        try:
            found += _spare(data, leaves)
        except struct.error:
            found.append("a truncated list of frames")
    elif not found:
        found.append("no frames")
    return found


def _look(data: bytes, boxes: list[Box], parent: bytes, found: list[str], leaves: list[Box]) -> None:
    for box in boxes:
        if box.kind not in _ALLOWED[parent]:
            found.append(f"a box {box.kind.decode('latin-1')!r} of {counted(box.end - box.start, 'byte')}")
        elif box.kind in _PARENTS:
            _look(data, iso_boxes(data, box.start, box.end), box.kind, found, leaves)
        else:
            leaves.append(box)
            if not _is_plain(box.kind, data[box.start : box.end]):
                found.append(f"a box {box.kind.decode('latin-1')!r} with unneeded content")


def _is_plain(kind: bytes, body: bytes) -> bool:
    """Return whether a box contains only what players need to show the frames."""
    if kind in _EXACT:
        return body == _EXACT[kind]
    if kind in (b"mvhd", b"tkhd", b"mdhd"):  # dates of creation and last change
        return not body[4 : 20 if body[:1] == b"\x01" else 12].strip(b"\0")
    if kind == b"ftyp":
        return {body[:4], *(body[at : at + 4] for at in range(8, len(body), 4))} <= _BRANDS
    return kind != b"stsd" or _is_plain_entry(body)


def _is_plain_entry(body: bytes) -> bool:
    try:
        (entry,) = iso_boxes(body, 8)
        inside = iso_boxes(body, entry.start + _ENTRY_BYTES, entry.end)
    except (BadFileError, ValueError):
        return False
    name = body[entry.start + _NAME_AT : entry.start + _NAME_AT + 32]
    return entry.kind in _ENTRIES and not name.strip(b"\0") and {b.kind for b in inside} <= _IN_ENTRY


def _spare(data: bytes, leaves: list[Box]) -> list[str]:
    """Return a line if `mdat` contains more than the frames."""
    held = next(box for box in leaves if box.kind == b"mdat")
    sizes = next(data[box.start : box.end] for box in leaves if box.kind == b"stsz")
    each, count = struct.unpack_from(">II", sizes, 4)
    if not each and len(sizes) != 12 + 4 * count:
        return ["a list of frames whose length is wrong"]
    frames = each * count if each else sum(struct.unpack_from(f">{count}I", sizes, 12))
    spare = held.end - held.start - frames
    return [f"{counted(spare, 'byte')} besides the frames"] if spare else []
