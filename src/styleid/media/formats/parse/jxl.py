"""Read the boxes and the codestream header of JPEG XL (ISO/IEC 18181-1, annexes A and D; 18181-2)."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from styleid.media.containers.errors import BadFileError, CutShortError
from styleid.media.containers.iso import iso_boxes
from styleid.media.formats.parse.bits import BitReader, UnsupportedStreamError

JXL_SIGNATURE = b"\0\0\0\x0cJXL \r\n\x87\n"
JXL_TYPE = b"\0\0\0\x14ftypjxl \0\0\0\0jxl "
BARE_SIGNATURE = b"\xff\x0a"
ALPHA, BLACK = 0, 4

_RATIOS = {1: (1, 1), 2: (12, 10), 3: (4, 3), 4: (3, 2), 5: (16, 9), 6: (5, 4), 7: (2, 1)}
_HEAD_BYTES = 1 << 12
_SPOT, _PATTERN = 2, 5


@dataclass(frozen=True)
class ExtraChannel:
    """An extra channel.

    Attributes:
        kind: 0 for alpha, 4 for black ink; others are not used here.
        premultiplied: Whether colours are multiplied by it (alpha only).
        name: Whether it has a name.
    """

    kind: int
    premultiplied: bool = False
    name: bool = False


@dataclass(frozen=True)
class JxlHead:
    """The header of a codestream.

    Attributes:
        width: Width as coded.
        height: Height as coded.
        orientation: EXIF orientation, which decoders apply.
        preview: Whether there is a preview picture.
        animated: Whether it is an animation.
        bits: Depth of a sample, 0 for floating point.
        extras: Extra channels.
        lossless: Whether samples are coded in their own colour space, not in the perceptual space XYB.
    """

    width: int
    height: int
    orientation: int = 1
    preview: bool = False
    animated: bool = False
    bits: int = 8
    extras: tuple[ExtraChannel, ...] = ()
    lossless: bool = False


def jxl_parts(data: bytes) -> tuple[bytes, list[tuple[bytes, bytes]]]:
    """Return the codestream and the other boxes as (type, body); a bare codestream has none.

    Raises:
        BadFileError: There is no codestream.
        CutShortError: A box ends after the file.
    """
    if data.startswith(BARE_SIGNATURE):
        return data, []
    try:
        boxes = iso_boxes(data)
    except CutShortError as error:
        raise CutShortError("a box of the JPEG XL") from error
    pieces: list[bytes] = []
    others: list[tuple[bytes, bytes]] = []
    for box in boxes:
        if box.kind in (b"jxlc", b"jxlp"):
            pieces.append(data[box.start + (4 if box.kind == b"jxlp" else 0) : box.end])
        else:
            others.append((box.kind, data[box.start : box.end]))
    if not pieces:
        raise BadFileError("the JPEG XL is damaged: it holds no picture")
    return b"".join(pieces), others


def jxl_box(kind: bytes, body: bytes) -> bytes:
    """Return a box."""
    return struct.pack(">I4s", 8 + len(body), kind) + body


def jxl_exif(body: bytes) -> tuple[bytes, bytes]:
    """Split the body of an Exif box into the bytes between its offset field and the EXIF block, and the block itself.

    pillow-jxl-plugin writes no offset field.
    """
    if body[:4] in (b"II*\0", b"MM\0*"):
        return b"", body
    start = 4 + int.from_bytes(body[:4], "big")
    return body[4:start], body[start:]


def jxl_head(codestream: bytes) -> JxlHead:
    """Read the header of a codestream.

    Raises:
        BadFileError: It is no codestream.
        CutShortError: It ends inside the header.
    """
    if not codestream.startswith(BARE_SIGNATURE):
        raise BadFileError("the JPEG XL is damaged: its codestream has no signature")
    try:
        return _head(_LowFirst(codestream[2:_HEAD_BYTES]))
    except UnsupportedStreamError as error:
        raise CutShortError("the JPEG XL's header") from error


class _LowFirst(BitReader):
    """Reader of bits, the lowest bit of each byte first."""

    def __init__(self, data: bytes) -> None:
        super().__init__(bytes(int(f"{byte:08b}"[::-1], 2) for byte in data))

    def take(self, count: int = 1) -> int:
        return sum(super(_LowFirst, self).take() << place for place in range(count))

    def choice(self, ways: Sequence[tuple[int, int]]) -> int:
        """Read a two-bit choice of (offset, bits), then a number of that many bits; return offset plus number."""
        offset, bits = ways[self.take(2)]
        return offset + self.take(bits)


def _head(bits: _LowFirst) -> JxlHead:
    width, height = _size(bits)
    if bits.take():
        return JxlHead(width, height)
    orientation, preview = 1, False
    if bits.take():
        orientation = 1 + bits.take(3)
        if bits.take():
            _size(bits)
        preview = bool(bits.take())
        if preview:
            _skip_preview(bits)
        if bits.take():
            return JxlHead(width, height, orientation, preview, animated=True)
    depth = _depth(bits)
    bits.take()
    extras = tuple(_extra(bits) for _ in range(bits.choice(((0, 0), (1, 0), (2, 4), (1, 12)))))
    return JxlHead(width, height, orientation, preview, False, depth, extras, lossless=not bits.take())


def _size(bits: _LowFirst) -> tuple[int, int]:
    ways = ((1, 9), (1, 13), (1, 18), (1, 30))
    eighths = bits.take()
    height = 8 * (1 + bits.take(5)) if eighths else bits.choice(ways)
    if ratio := bits.take(3):
        across, down = _RATIOS[ratio]
        return height * across // down, height
    return (8 * (1 + bits.take(5)) if eighths else bits.choice(ways)), height


def _skip_preview(bits: _LowFirst) -> None:
    ways = ((16, 0), (32, 0), (1, 5), (33, 9)) if bits.take() else ((1, 6), (65, 8), (321, 10), (1345, 12))
    bits.choice(ways)
    if not bits.take(3):
        bits.choice(ways)


def _depth(bits: _LowFirst) -> int:
    if bits.take():
        bits.choice(((32, 0), (16, 0), (24, 0), (1, 6)))
        bits.take(4)
        return 0
    return bits.choice(((8, 0), (10, 0), (12, 0), (1, 6)))


def _extra(bits: _LowFirst) -> ExtraChannel:
    if bits.take():
        return ExtraChannel(ALPHA)
    kind = bits.choice(((0, 0), (1, 0), (2, 4), (18, 6)))
    _depth(bits)
    bits.choice(((0, 0), (3, 0), (4, 0), (1, 3)))
    named = bits.choice(((0, 0), (0, 4), (16, 5), (48, 10)))
    bits.take(8 * named)
    premultiplied = kind == ALPHA and bool(bits.take())
    if kind == _SPOT:
        bits.take(4 * 16)
    elif kind == _PATTERN:
        bits.choice(((1, 0), (0, 2), (3, 4), (19, 8)))
    return ExtraChannel(kind, premultiplied, named > 0)
