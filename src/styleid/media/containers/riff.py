"""Split a RIFF file (WebP) into its chunks, and build chunks."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from styleid.media.containers.chunk import Chunk
from styleid.media.containers.errors import BadFileError, CutShortError


def riff_chunks(data: bytes) -> tuple[list[Chunk], int]:
    """Return the chunks of a WebP file, and the offset after the RIFF block.

    Raises:
        BadFileError: It is no WebP.
        CutShortError: The file, or a chunk, ends too early.
    """
    if data[:4] != b"RIFF" or data[8:12] != b"WEBP":
        raise BadFileError("it does not begin like a WebP")
    end = 8 + struct.unpack_from("<I", data, 4)[0]
    if end > len(data) + (end & 1):
        raise CutShortError("the WebP")
    return list(riff_body(data, 12, min(end, len(data)))), min(end + (end & 1), len(data))


def riff_body(data: bytes, position: int, end: int) -> Iterator[Chunk]:
    """Yield the chunks between two offsets.

    Raises:
        CutShortError: A chunk ends after `end`.
    """
    while position + 8 <= end:
        kind, length = struct.unpack_from("<4sI", data, position)
        if position + 8 + length > end:
            raise CutShortError(f"the WebP chunk {kind.decode('latin-1')!r}")
        yield Chunk(kind, data, position + 8, position + 8 + length)
        position += 8 + length + (length & 1)


def riff_chunk(kind: bytes, body: bytes) -> bytes:
    """Return a RIFF chunk, padded to an even length."""
    return struct.pack("<4sI", kind, len(body)) + body + b"\0" * (len(body) & 1)
