"""Split a GIF into its blocks."""

from __future__ import annotations

from dataclasses import dataclass

from styleid.media.containers.errors import BadFileError, CutShortError


@dataclass(frozen=True)
class GifBlock:
    """A block after a GIF's header.

    Attributes:
        kind: "picture", or the label of an extension in hex, such as "f9".
        body: The block with its introducer.
        start: Its offset in the file.
    """

    kind: str
    body: bytes
    start: int


def gif_blocks(data: bytes) -> tuple[list[GifBlock], int]:
    """Return the blocks of a GIF, and the offset after its trailer.

    Raises:
        BadFileError: It is no GIF, or it is damaged.
        CutShortError: It has no trailer.
    """
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
    """Return the length in bytes of the colour table that the flags of a header or picture descriptor announce."""
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0
