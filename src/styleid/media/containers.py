"""Walk the containers of still pictures: JPEG segments, PNG chunks, RIFF chunks, GIF blocks, ISO boxes.

Only structure is read here, never pixels. Decoders are handed **bare** streams rebuilt from these parts, so that no
metadata reaches them, and `styleid.media.audit` looks for what should not be there with the same walkers.

Convention
----------
Offsets count bytes from the start of the file. Every walker checks lengths before it trusts them and raises
`BadFileError` where the bytes end early, so no walker can run past the data or for ever.
"""

from __future__ import annotations

import mmap
import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"

_JPEG_MARKER = re.compile(rb"\xff+([\x01-\xcf\xd8-\xfe])", re.DOTALL)
"""A marker inside entropy-coded data: not a stuffed 0xFF00, not a restart marker."""


class BadFileError(Exception):
    """A file's bytes cannot be used; the message is the reason, without the file's name."""


class CutShortError(BadFileError):
    """The bytes end before the structure does."""

    def __init__(self, where: str) -> None:
        super().__init__(f"the file is cut short: it ends inside {where}. Fetch or copy it again")


def check_tail(stream: bytes) -> None:
    """Raise where a compressed stream ends in a kilobyte of zeros: no coder writes that, broken downloads do."""
    if len(stream) > 1024 and not stream[-1024:].strip(b"\0"):
        raise CutShortError("its pixels: the rest is zeros")


@dataclass(frozen=True)
class JpegSegment:
    """Hold one marker segment: marker (the byte after 0xFF), payload without its length, start and end in the file.

    For SOS, `end` is where its entropy-coded data ends.
    """

    marker: int
    payload: bytes
    start: int
    end: int


@dataclass(frozen=True)
class JpegParts:
    """Hold the segments of the first picture, and the offset after its EOI."""

    segments: tuple[JpegSegment, ...]
    end: int


def jpeg_parts(data: bytes) -> JpegParts:
    """Split the first picture of a JPEG file; what lies after its EOI is left alone."""
    if data[:2] != b"\xff\xd8":
        raise BadFileError("it does not begin like a JPEG")
    segments: list[JpegSegment] = []
    position = 2
    while True:
        start = position
        while data[position : position + 1] == b"\xff":
            position += 1
        if position == start or position >= len(data):
            if position < len(data):
                raise BadFileError(f"the JPEG is damaged: no marker at byte {start}")
            raise CutShortError("the JPEG's pixels" if any(s.marker == 0xDA for s in segments) else "the JPEG's header")
        marker = data[position]
        position += 1
        if marker == 0xD9:
            return JpegParts(tuple(segments), position)
        if marker == 0x01 or 0xD0 <= marker <= 0xD7:
            continue
        if position + 2 > len(data):
            raise CutShortError("a JPEG segment")
        length = struct.unpack_from(">H", data, position)[0]
        if length < 2 or position + length > len(data):
            raise CutShortError("a JPEG segment")
        payload = data[position + 2 : position + length]
        position += length
        if marker == 0xDA:
            found = _JPEG_MARKER.search(data, position)
            position = found.start() if found else len(data)
        segments.append(JpegSegment(marker, payload, start, position))


@dataclass(frozen=True)
class Chunk:
    """Hold one chunk of a PNG or RIFF file.

    kind: four bytes. start, end: where its body lies in `source`, so that large bodies are not copied until asked for.
    sound: whether its checksum agrees (PNG).
    """

    kind: bytes
    source: bytes
    start: int
    end: int
    sound: bool = True

    @property
    def body(self) -> bytes:
        """The chunk's content."""
        return self.source[self.start : self.end]

    def __len__(self) -> int:
        return self.end - self.start


def png_chunks(data: bytes) -> tuple[list[Chunk], int]:
    """Return the chunks up to IEND, and the offset after it."""
    if data[:8] != PNG_SIGNATURE:
        raise BadFileError("it does not begin like a PNG")
    chunks: list[Chunk] = []
    position = 8
    while position < len(data):
        if position + 12 > len(data):
            raise CutShortError("a PNG chunk")
        length, kind = struct.unpack_from(">I4s", data, position)
        if position + 12 + length > len(data):
            raise CutShortError(f"the PNG chunk {kind.decode('latin-1')!r}")
        start, end = position + 8, position + 8 + length
        stored = struct.unpack_from(">I", data, end)[0]
        chunks.append(Chunk(kind, data, start, end, zlib.crc32(memoryview(data)[position + 4 : end]) == stored))
        position = end + 4
        if kind == b"IEND":
            return chunks, position
    raise CutShortError("the PNG, before its IEND chunk")


def png_chunk(kind: bytes, body: bytes) -> bytes:
    """Return one PNG chunk with its length and checksum."""
    return struct.pack(">I4s", len(body), kind) + body + struct.pack(">I", zlib.crc32(body, zlib.crc32(kind)))


def riff_chunks(data: bytes) -> tuple[list[Chunk], int]:
    """Return the chunks of a WebP file, and the offset after the RIFF block."""
    if data[:4] != b"RIFF" or data[8:12] != b"WEBP":
        raise BadFileError("it does not begin like a WebP")
    end = 8 + struct.unpack_from("<I", data, 4)[0]
    if end > len(data) + (end & 1):
        raise CutShortError("the WebP")
    return list(riff_body(data, 12, min(end, len(data)))), min(end + (end & 1), len(data))


def riff_body(data: bytes, position: int, end: int) -> Iterator[Chunk]:
    """Yield the chunks between two offsets."""
    while position + 8 <= end:
        kind, length = struct.unpack_from("<4sI", data, position)
        if position + 8 + length > end:
            raise CutShortError(f"the WebP chunk {kind.decode('latin-1')!r}")
        yield Chunk(kind, data, position + 8, position + 8 + length)
        position += 8 + length + (length & 1)


def riff_chunk(kind: bytes, body: bytes) -> bytes:
    """Return one RIFF chunk, padded to an even length."""
    return struct.pack("<4sI", kind, len(body)) + body + b"\0" * (len(body) & 1)


@dataclass(frozen=True)
class GifBlock:
    """Hold one block after the GIF header. kind: "picture", or an extension's label in hex."""

    kind: str
    body: bytes
    start: int


def gif_blocks(data: bytes) -> tuple[list[GifBlock], int]:
    """Return the blocks of a GIF, and the offset after its trailer."""
    if data[:6] not in (b"GIF87a", b"GIF89a"):
        raise BadFileError("it does not begin like a GIF")
    if len(data) < 13:
        raise CutShortError("the GIF header")
    position = 13 + gif_table_bytes(data[10])
    blocks: list[GifBlock] = []
    while position < len(data):
        start, introducer = position, data[position]
        if introducer == 0x3B:
            return blocks, position + 1
        if introducer == 0x21 and position + 2 <= len(data):
            kind, position = f"{data[position + 1]:02x}", position + 2
        elif introducer == 0x2C and position + 10 <= len(data):
            kind, position = "picture", position + 11 + gif_table_bytes(data[position + 9])
        else:
            raise BadFileError(f"the GIF is damaged at byte {start}")
        while position < len(data) and data[position]:
            position += 1 + data[position]
        position += 1
        blocks.append(GifBlock(kind, data[start:position], start))
    raise CutShortError("the GIF, before its trailer")


def gif_table_bytes(flags: int) -> int:
    """Return the length of the colour table that a GIF header's or descriptor's flags announce."""
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


@dataclass(frozen=True)
class Box:
    """Hold one box of an ISO base media file: kind, and where it, its body and its end lie in the file."""

    kind: bytes
    at: int
    start: int
    end: int


def iso_boxes(data: bytes | mmap.mmap, start: int = 0, end: int | None = None) -> list[Box]:
    """Return the boxes between two offsets."""
    end = len(data) if end is None else end
    boxes: list[Box] = []
    position = start
    while position < end:
        if position + 8 > end:
            raise CutShortError("a box of the AVIF or HEIC")
        size, kind = struct.unpack_from(">I4s", data, position)
        body = position + 8
        if size == 1:
            if body + 8 > end:
                raise CutShortError("a box of the AVIF or HEIC")
            size, body = struct.unpack_from(">Q", data, body)[0], body + 8
        stop = end if size == 0 else position + size
        if stop > end or stop < body:
            raise CutShortError(f"the box {kind.decode('latin-1')!r} of the AVIF or HEIC")
        boxes.append(Box(kind, position, body, stop))
        position = stop
    return boxes
