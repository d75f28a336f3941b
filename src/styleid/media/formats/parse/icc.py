"""Rebuild colour profiles without what they say about people and machines.

A profile is numbers (curves, matrices, tables) and text (description, copyright, device maker and model, private
tags, dates). The numbers are copied tag by tag from an allow-list; the two texts that the standard demands are
written anew: the description keeps its wording only where it is a well-known public one ("sRGB IEC61966-2.1",
"Display P3", ...), the copyright says that it was removed; device, creator, date and identifier in the header are
cleared. A profile measured on one monitor or scanner stays recognisable by its numbers; convert such pictures to
sRGB first where that matters.
"""

from __future__ import annotations

import io
import re
import struct
from dataclasses import dataclass

_HEADER = 128
_MAX_BYTES = 16 << 20

_NUMBERS = frozenset(
    b"wtpt bkpt chad rXYZ gXYZ bXYZ rTRC gTRC bTRC kTRC A2B0 A2B1 A2B2 B2A0 B2A1 B2A2 D2B0 D2B1 D2B2 D2B3 "
    b"B2D0 B2D1 B2D2 B2D3 gamt lumi cicp chrm".split()
)
_NUMERIC_TYPES = frozenset([b"XYZ ", b"curv", b"para", b"sf32", b"mft1", b"mft2", b"mAB ", b"mBA ", b"cicp", b"chrm",
                            b"mpet"])  # fmt: skip

_PUBLIC_NAMES = re.compile(
    r"sRGB( IEC61966-2[.-]1)?|sRGB built-in|Display P3|(Compatible with )?Adobe RGB \(1998\)"
    r"|ProPhoto RGB|ROMM RGB.{0,16}|ITU-R BT\.(709|2020|2100).{0,24}|Rec\.? ?(709|2020).{0,16}|Dot Gain \d+%"
    r"|Gr[ae]y Gamma \d\.\d|Gamma \d\.\d|Generic (RGB|Gray|CMYK).{0,24}"
    r"|U\.S\. Web Coated \(SWOP\) v2|Coated FOGRA\d+.{0,40}"
    r"|ISO Coated v2.{0,16}|(RGB|GRAY|CMYK) profile|c2(ci)?|uRGB|sGrey|sGry"
)
_REMOVED = "Text removed"
_HEADER_TEXTS = {"CMM": (4, 8), "date": (24, 36), "platform": (40, 44), "device": (48, 64), "creator": (80, 84),
                 "identifier": (84, 128)}  # fmt: skip


@dataclass(frozen=True)
class Profile:
    """Hold a parsed profile: header, 128 bytes; tags as (signature, data); space such as b"RGB "."""

    header: bytes
    tags: tuple[tuple[bytes, bytes], ...]

    @property
    def space(self) -> bytes:
        """The colour space of the picture's numbers."""
        return self.header[16:20]

    @property
    def version(self) -> int:
        """The major version."""
        return self.header[8]


def parse_profile(data: bytes) -> Profile | None:
    """Return the parsed profile, or None where it is damaged, too large or no profile."""
    if not _HEADER + 4 <= len(data) <= _MAX_BYTES or data[36:40] != b"acsp":
        return None
    count = struct.unpack_from(">I", data, _HEADER)[0]
    if count > 100 or _HEADER + 4 + 12 * count > len(data):
        return None
    tags = []
    for index in range(count):
        name, start, size = struct.unpack_from(">4sII", data, _HEADER + 4 + 12 * index)
        if size < 8 or start + size > len(data):
            return None
        tags.append((name, data[start : start + size]))
    return Profile(data[:_HEADER], tuple(tags))


def clean_profile(data: bytes | None, space: bytes) -> bytes | None:
    """Return the profile rebuilt from the allow-list, or None where there is none fit for the picture.

    space: the picture's, b"RGB ", b"GRAY" or b"CMYK"; a profile for another space would mislead every viewer.
    """
    profile = parse_profile(data) if data else None
    if profile is None or profile.space != space:
        return None
    description = next((text_of(body) for name, body in profile.tags if name == b"desc"), "")
    if not _PUBLIC_NAMES.fullmatch(description):
        description = f"{space.decode().strip()} profile"
    texts = [
        (b"desc", _text(description, profile.version, b"desc")),
        (b"cprt", _text(_REMOVED, profile.version, b"text")),
    ]
    numbers = [(name, body) for name, body in profile.tags if name in _NUMBERS and body[:4] in _NUMERIC_TYPES]
    rebuilt = _assembled(profile.header, texts + numbers)
    return rebuilt if _usable(rebuilt) else None


def profile_leftovers(data: bytes) -> list[str]:
    """Say in one line what a profile holds outside the allow-list; an empty list where it holds numbers only."""
    profile = parse_profile(data)
    if profile is None:
        return ["colour profile that cannot be read"]
    found = [label for label, (a, b) in _HEADER_TEXTS.items() if profile.header[a:b].strip(b"\0 ")]
    for name, body in profile.tags:
        label = name.decode("latin-1").strip()
        if name in (b"desc", b"cprt"):
            text = text_of(body)
            if text != _REMOVED and not _PUBLIC_NAMES.fullmatch(text):
                found.append(f"{label} {text[:40]!r}")
        elif name not in _NUMBERS or body[:4] not in _NUMERIC_TYPES:
            found.append(label)
    return ["colour profile with more than numbers: " + ", ".join(found)] if found else []


def text_of(body: bytes) -> str:
    """Return the text of a 'desc', 'mluc' or 'text' tag, "" where it holds none."""
    if body[:4] == b"desc" and len(body) >= 12:
        return body[12 : 12 + struct.unpack_from(">I", body, 8)[0]].rstrip(b"\0").decode("latin-1")
    if body[:4] == b"mluc" and len(body) >= 28:
        size, start = struct.unpack_from(">II", body, 20)
        return body[start : start + size].decode("utf-16-be", "replace").rstrip("\0")
    return body[8:].rstrip(b"\0").decode("latin-1") if body[:4] == b"text" else ""


def adobe_rgb_profile() -> bytes:
    """Return a profile with the numbers of Adobe RGB (1998), for photos that name it in their EXIF only (DCF)."""
    rows = {
        b"wtpt": (0.95045, 1.0, 1.08905),
        b"rXYZ": (0.60974, 0.31111, 0.01947),
        b"gXYZ": (0.20528, 0.62567, 0.06087),
        b"bXYZ": (0.14919, 0.06322, 0.74457),
    }
    tags = [
        (b"desc", _text("Compatible with Adobe RGB (1998)", 2, b"desc")),
        (b"cprt", _text(_REMOVED, 2, b"text")),
        *((name, b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(v * 65536) for v in row))) for name, row in rows.items()),
        *((name, b"curv\0\0\0\0" + struct.pack(">IH", 1, 0x0233)) for name in (b"rTRC", b"gTRC", b"bTRC")),
    ]
    header = bytearray(_HEADER)
    header[8], header[9] = 2, 0x10
    header[12:24] = b"mntrRGB XYZ "
    header[36:40] = b"acsp"
    header[68:80] = struct.pack(">3i", 63190, 65536, 54061)
    return _assembled(bytes(header), tags)


def _assembled(header: bytes, tags: list[tuple[bytes, bytes]]) -> bytes:
    cleared = bytearray(header)
    for start, end in _HEADER_TEXTS.values():
        cleared[start:end] = bytes(end - start)
    table, behind = struct.pack(">I", len(tags)), b""
    base = _HEADER + 4 + 12 * len(tags)
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
