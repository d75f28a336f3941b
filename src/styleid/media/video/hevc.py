"""Detect an alpha channel in a second layer of H.265, which Apple's programs write and FFmpeg's decoder ignores."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

from styleid.media.containers.hevc import configured_units, is_configuration, sized_units, unescaped, unit_kind

_PREFIX_SEI = 39
_ALPHA_CHANNEL_INFO = 165
_START_CODE = re.compile(rb"\x00\x00\x01")


def declares_alpha(data: bytes, header: bytes) -> bool:
    """Return whether a packet of H.265 declares an alpha channel in a second layer.

    Args:
        data: The packet.
        header: The stream's extradata. If it is a configuration record, each NAL unit in the packet is preceded by its
            size; otherwise units have start codes.
    """
    units = sized_units(data, header) if is_configuration(header) else _started(data)
    return any(map(_is_alpha_message, units))


def header_declares_alpha(header: bytes) -> bool:
    """Return whether a stream's extradata declares an alpha channel in a second layer."""
    return any(map(_is_alpha_message, configured_units(header) if is_configuration(header) else _started(header)))


def _started(data: bytes) -> Iterator[bytes]:
    starts = [match.end() for match in _START_CODE.finditer(data)]
    for begin, end in itertools.pairwise([*starts, len(data)]):
        yield data[begin:end]


def _is_alpha_message(unit: bytes) -> bool:
    """Return whether a NAL unit is supplemental enhancement information with an alpha channel message."""
    if len(unit) < 4 or unit_kind(unit) != _PREFIX_SEI:
        return False
    body, at = unescaped(unit), 0
    while at + 2 <= len(body) and body[at:] != b"\x80":
        kind, at = _number(body, at)
        size, at = _number(body, at)
        if kind == _ALPHA_CHANNEL_INFO:
            return True
        at += size
    return False


def _number(body: bytes, at: int) -> tuple[int, int]:
    """Return a number in the header of a message, and the offset after it."""
    value = 0
    while at < len(body) and body[at] == 255:
        value, at = value + 255, at + 1
    return value + (body[at] if at < len(body) else 0), at + 1
