"""Find what an MP4 file of one silent picture track holds besides it, as the video of a motion photo is written.

Every box is known by its place; what lies in a box that is only passed over by players, a name, a date or a byte of
`mdat` that is no part of a frame, is a leftover. What frames show is out of reach here.
"""

from __future__ import annotations

import struct

from styleid.media.containers.errors import BadFileError
from styleid.media.containers.iso import Box, iso_boxes
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
"""What FFmpeg writes into the user data of a file without tags: an empty list of them."""
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
    """List what an MP4 holds besides one picture track, and the mark; raises `BadFileError` for no MP4 at all."""
    found: list[str] = []
    leaves: list[Box] = []
    _look(data, iso_boxes(data), b"", found, leaves)
    kinds = [box.kind for box in leaves]
    found += [f"a second {kind.decode()}" for kind in (b"mdat", b"uuid", b"tkhd") if kinds.count(kind) > 1]
    if kinds.count(b"mdat") == kinds.count(b"stsz") == 1:
        try:
            found += _spare(data, leaves)
        except struct.error:
            found.append("a list of frames that is cut short")
    elif not found:
        found.append("no frames")
    return found


def _look(data: bytes, boxes: list[Box], parent: bytes, found: list[str], leaves: list[Box]) -> None:
    for box in boxes:
        if box.kind not in _ALLOWED[parent]:
            found.append(f"a box {box.kind.decode('latin-1')!r} of {box.end - box.start} bytes")
        elif box.kind in _PARENTS:
            _look(data, iso_boxes(data, box.start, box.end), box.kind, found, leaves)
        else:
            leaves.append(box)
            if not _is_plain(box.kind, data[box.start : box.end]):
                found.append(f"more in a box {box.kind.decode('latin-1')!r} than it needs")


def _is_plain(kind: bytes, body: bytes) -> bool:
    """Say whether a box holds only what frames need to be shown."""
    if kind in _EXACT:
        return body == _EXACT[kind]
    if kind in (b"mvhd", b"tkhd", b"mdhd"):  # dates of creation and of the last change
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
    """Return a line where frames are not all that lies in `mdat`."""
    held = next(box for box in leaves if box.kind == b"mdat")
    sizes = next(data[box.start : box.end] for box in leaves if box.kind == b"stsz")
    each, count = struct.unpack_from(">II", sizes, 4)
    if not each and len(sizes) != 12 + 4 * count:
        return ["a list of frames of another length than it says"]
    frames = each * count if each else sum(struct.unpack_from(f">{count}I", sizes, 12))
    spare = held.end - held.start - frames
    return [f"{spare} bytes beside the frames"] if spare else []
