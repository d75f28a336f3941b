"""Split a PNG into its chunks, and build chunks."""

from __future__ import annotations

import struct
import zlib

from styleid.media.containers.chunk import Chunk
from styleid.media.containers.errors import BadFileError, CutShortError

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def png_chunks(data: bytes) -> tuple[list[Chunk], int]:
    """Return the chunks up to IEND, and the offset after it. Wrong checksums are reported by `Chunk.sound`.

    Raises:
        BadFileError: It is no PNG.
        CutShortError: It has no IEND chunk.
    """
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
    """Return a PNG chunk with its length and checksum."""
    return struct.pack(">I4s", len(body), kind) + body + struct.pack(">I", zlib.crc32(body, zlib.crc32(kind)))
