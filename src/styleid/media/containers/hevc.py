"""Split H.265 streams and their configuration records (hvcC, ISO/IEC 14496-15) into NAL units."""

from __future__ import annotations

from collections.abc import Iterator

_CONFIGURATION_BYTES = 23


def is_configuration(header: bytes) -> bool:
    """Return whether codec data is a configuration record, not NAL units with start codes."""
    return len(header) >= _CONFIGURATION_BYTES and header[0] == 1


def configured_units(header: bytes) -> Iterator[bytes]:
    """Yield the NAL units of a configuration record."""
    at = _CONFIGURATION_BYTES
    for _ in range(header[at - 1]):
        count = int.from_bytes(header[at + 1 : at + 3], "big")
        at += 3
        for _ in range(count):
            size = int.from_bytes(header[at : at + 2], "big")
            yield header[at + 2 : at + 2 + size]
            at += 2 + size


def sized_units(data: bytes, header: bytes) -> Iterator[bytes]:
    """Yield the NAL units of a stream in which each is preceded by its size.

    Args:
        data: The stream.
        header: Its configuration record, which says how many bytes a size has.
    """
    width, at = (header[21] & 3) + 1, 0
    while at + width <= len(data):
        size = int.from_bytes(data[at : at + width], "big")
        yield data[at + width : at + width + size]
        at += width + size


def unit_kind(unit: bytes) -> int:
    """Return the type of a NAL unit (H.265, table 7-1), -1 if it is shorter than its header."""
    return unit[0] >> 1 & 63 if len(unit) >= 2 else -1


def unescaped(unit: bytes) -> bytes:
    """Return the payload of a NAL unit without its header and without emulation prevention bytes."""
    return unit[2:].replace(b"\x00\x00\x03", b"\x00\x00")
