"""Cut streams of H.265 and their configuration records into units."""

from __future__ import annotations

from collections.abc import Iterator

_CONFIGURATION_BYTES = 23


def is_configuration(header: bytes) -> bool:
    """Say whether extradata is a configuration record, and not units with start codes."""
    return len(header) >= _CONFIGURATION_BYTES and header[0] == 1


def configured_units(header: bytes) -> Iterator[bytes]:
    """Yield the units of a configuration record."""
    at = _CONFIGURATION_BYTES
    for _ in range(header[at - 1]):
        count = int.from_bytes(header[at + 1 : at + 3], "big")
        at += 3
        for _ in range(count):
            size = int.from_bytes(header[at : at + 2], "big")
            yield header[at + 2 : at + 2 + size]
            at += 2 + size


def sized_units(data: bytes, header: bytes) -> Iterator[bytes]:
    """Yield the units of a stream that has a configuration record: their sizes stand before them."""
    width, at = (header[21] & 3) + 1, 0
    while at + width <= len(data):
        size = int.from_bytes(data[at : at + width], "big")
        yield data[at + width : at + width + size]
        at += width + size


def unit_kind(unit: bytes) -> int:
    """Return a unit's kind (H.265, table 7-1), -1 where it has no header."""
    return unit[0] >> 1 & 63 if len(unit) >= 2 else -1


def unescaped(unit: bytes) -> bytes:
    """Return a unit's content behind its header, without the bytes that keep start codes out of it."""
    return unit[2:].replace(b"\x00\x00\x03", b"\x00\x00")
