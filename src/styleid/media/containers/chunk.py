"""One chunk of a PNG or RIFF file."""

from __future__ import annotations

from dataclasses import dataclass


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
