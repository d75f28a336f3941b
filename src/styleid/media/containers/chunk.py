"""A chunk of a PNG or RIFF file."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Chunk:
    """A chunk of a PNG or RIFF file; its body is copied only when `body` is read.

    Attributes:
        kind: Four bytes.
        source: The whole file.
        start: Offset of the body in `source`.
        end: Offset after the body.
        sound: Whether the checksum is right (PNG only).
    """

    kind: bytes
    source: bytes
    start: int
    end: int
    sound: bool = True

    @property
    def body(self) -> bytes:
        """Content of the chunk."""
        return self.source[self.start : self.end]

    def __len__(self) -> int:
        return self.end - self.start
