"""Rebuild colour profiles without texts that can identify people or devices; see `formats.parse.icc`."""

from __future__ import annotations

import io
import struct

from styleid.media.formats.parse.icc import (
    HEADER_BYTES,
    HEADER_TEXTS,
    NUMBERS,
    NUMERIC_TYPES,
    PUBLIC_NAMES,
    REMOVED,
    parse_profile,
    text_of,
)


def clean_profile(data: bytes | None, space: bytes) -> bytes | None:
    """Return a profile rebuilt from the allow-list.

    Args:
        data: The source's profile, None if it has none.
        space: The picture's colour space: b"RGB ", b"GRAY" or b"CMYK".

    Returns:
        The rebuilt profile; None if there is none, or if it is damaged or for another colour space.
    """
    profile = parse_profile(data) if data else None
    if profile is None or profile.space != space:
        return None
    description = next((text_of(body) for name, body in profile.tags if name == b"desc"), "")
    if not PUBLIC_NAMES.fullmatch(description):
        description = f"{space.decode().strip()} profile"
    texts = [
        (b"desc", _text(description, profile.version, b"desc")),
        (b"cprt", _text(REMOVED, profile.version, b"text")),
    ]
    numbers = [(name, body) for name, body in profile.tags if name in NUMBERS and body[:4] in NUMERIC_TYPES]
    rebuilt = _assembled(profile.header, texts + numbers)
    return rebuilt if _usable(rebuilt) else None


def adobe_rgb_profile() -> bytes:
    """Return a profile equal to Adobe RGB (1998), for photos that name that colour space only in their EXIF (DCF)."""
    rows = {
        b"wtpt": (0.95045, 1.0, 1.08905),
        b"rXYZ": (0.60974, 0.31111, 0.01947),
        b"gXYZ": (0.20528, 0.62567, 0.06087),
        b"bXYZ": (0.14919, 0.06322, 0.74457),
    }
    tags = [
        (b"desc", _text("Compatible with Adobe RGB (1998)", 2, b"desc")),
        (b"cprt", _text(REMOVED, 2, b"text")),
        *((name, b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(v * 65536) for v in row))) for name, row in rows.items()),
        *((name, b"curv\0\0\0\0" + struct.pack(">IH", 1, 0x0233)) for name in (b"rTRC", b"gTRC", b"bTRC")),
    ]
    header = bytearray(HEADER_BYTES)
    header[8], header[9] = 2, 0x10
    header[12:24] = b"mntrRGB XYZ "
    header[36:40] = b"acsp"
    header[68:80] = struct.pack(">3i", 63190, 65536, 54061)
    return _assembled(bytes(header), tags)


def _assembled(header: bytes, tags: list[tuple[bytes, bytes]]) -> bytes:
    cleared = bytearray(header)
    for start, end in HEADER_TEXTS.values():
        cleared[start:end] = bytes(end - start)
    table, behind = struct.pack(">I", len(tags)), b""
    base = HEADER_BYTES + 4 + 12 * len(tags)
    placed: dict[bytes, int] = {}
    for name, body in tags:
        if body not in placed:
            placed[body] = base + len(behind)
            behind += body + bytes(-len(body) % 4)
        table += name + struct.pack(">II", placed[body], len(body))
    cleared[0:4] = struct.pack(">I", base + len(behind))
    return bytes(cleared) + table + behind


def _text(text: str, version: int, old_type: bytes) -> bytes:
    if version >= 4:
        body = text.encode("utf-16-be")
        return b"mluc\0\0\0\0" + struct.pack(">II4sII", 1, 12, b"enUS", len(body), 28) + body
    body = text.encode("ascii", "replace") + b"\0"
    if old_type == b"text":
        return b"text\0\0\0\0" + body
    return b"desc\0\0\0\0" + struct.pack(">I", len(body)) + body + bytes(4 + 4 + 2 + 1 + 67)


def _usable(profile: bytes) -> bool:
    try:
        from PIL import ImageCms

        ImageCms.ImageCmsProfile(io.BytesIO(profile))
    except ImportError:
        return True
    except (OSError, ValueError, TypeError):
        return False
    return True
