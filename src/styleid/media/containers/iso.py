"""Split ISO base media files (AVIF, HEIC, JPEG XL, MP4) into their boxes."""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass

from styleid.media.containers.errors import CutShortError


@dataclass(frozen=True)
class Box:
    """A box of an ISO base media file.

    Attributes:
        kind: Four bytes.
        at: Offset of the box.
        start: Offset of its body.
        end: Offset after the box.
    """

    kind: bytes
    at: int
    start: int
    end: int


def iso_boxes(data: bytes | mmap.mmap, start: int = 0, end: int | None = None) -> list[Box]:
    """Return the boxes between two offsets.

    Args:
        data: The whole file.
        start: Offset of the first box.
        end: Offset after the last box; None for the end of the file.

    Raises:
        CutShortError: A box ends after `end`.
    """
    end = len(data) if end is None else end
    boxes: list[Box] = []
    position = start
    while position < end:
        if position + 8 > end:
            raise CutShortError("a box")
        size, kind = struct.unpack_from(">I4s", data, position)
        body = position + 8
        if size == 1:
            if body + 8 > end:
                raise CutShortError("a box")
            size, body = struct.unpack_from(">Q", data, body)[0], body + 8
        stop = end if size == 0 else position + size
        if stop > end or stop < body:
            raise CutShortError(f"the box {kind.decode('latin-1')!r}")
        boxes.append(Box(kind, position, body, stop))
        position = stop
    return boxes
