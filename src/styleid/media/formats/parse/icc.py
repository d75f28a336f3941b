"""Parse colour profiles (ICC), and find texts in them that can identify people or devices.

A profile contains numbers (curves, matrices, tables) and texts (description, copyright, maker and model of a device,
private tags, dates). Tags with numbers are copied if they are on an allow-list. The standard requires two texts, which
are written anew: the description is kept only if it is a well-known name ("sRGB IEC61966-2.1", "Display P3", ...), and
the copyright says that the text was removed. Device, creator, date and identifier in the header are cleared. A profile
that was measured on one monitor or scanner can still be recognised by its numbers; convert such pictures to sRGB first
if that matters.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

HEADER_BYTES = 128
_MAX_BYTES = 16 << 20

NUMBERS = frozenset(
    b"wtpt bkpt chad rXYZ gXYZ bXYZ rTRC gTRC bTRC kTRC A2B0 A2B1 A2B2 B2A0 B2A1 B2A2 D2B0 D2B1 D2B2 D2B3 "
    b"B2D0 B2D1 B2D2 B2D3 gamt lumi cicp chrm".split()
)
NUMERIC_TYPES = frozenset([b"XYZ ", b"curv", b"para", b"sf32", b"mft1", b"mft2", b"mAB ", b"mBA ", b"cicp", b"chrm",
                            b"mpet"])  # fmt: skip

PUBLIC_NAMES = re.compile(
    r"sRGB( IEC61966-2[.-]1)?|sRGB built-in|Display P3|(Compatible with )?Adobe RGB \(1998\)"
    r"|ProPhoto RGB|ROMM RGB.{0,16}|ITU-R BT\.(709|2020|2100).{0,24}|Rec\.? ?(709|2020).{0,16}|Dot Gain \d+%"
    r"|Gr[ae]y Gamma \d\.\d|Gamma \d\.\d|Generic (RGB|Gray|CMYK).{0,24}"
    r"|U\.S\. Web Coated \(SWOP\) v2|Coated FOGRA\d+.{0,40}"
    r"|ISO Coated v2.{0,16}|(RGB|GRAY|CMYK) profile|c2(ci)?|uRGB|sGrey|sGry"
)
REMOVED = "Text removed"
HEADER_TEXTS = {"CMM": (4, 8), "date": (24, 36), "platform": (40, 44), "device": (48, 64), "creator": (80, 84),
                 "identifier": (84, 128)}  # fmt: skip


@dataclass(frozen=True)
class Profile:
    """A parsed profile: its header of 128 bytes, and its tags as (signature, data)."""

    header: bytes
    tags: tuple[tuple[bytes, bytes], ...]

    @property
    def space(self) -> bytes:
        """Colour space that the profile is for, such as b"RGB "."""
        return self.header[16:20]

    @property
    def version(self) -> int:
        """Major version."""
        return self.header[8]


def parse_profile(data: bytes) -> Profile | None:
    """Parse a profile; return None if it is damaged, larger than 16 MiB, or no profile."""
    if not HEADER_BYTES + 4 <= len(data) <= _MAX_BYTES or data[36:40] != b"acsp":
        return None
    count = struct.unpack_from(">I", data, HEADER_BYTES)[0]
    if count > 100 or HEADER_BYTES + 4 + 12 * count > len(data):
        return None
    tags: list[tuple[bytes, bytes]] = []
    for index in range(count):
        name, start, size = struct.unpack_from(">4sII", data, HEADER_BYTES + 4 + 12 * index)
        if size < 8 or start + size > len(data):
            return None
        tags.append((name, data[start : start + size]))
    return Profile(data[:HEADER_BYTES], tuple(tags))


def profile_leftovers(data: bytes) -> list[str]:
    """Return a line that names everything in a profile except allowed numbers and texts; an empty list if none."""
    profile = parse_profile(data)
    if profile is None:
        return ["colour profile that cannot be read"]
    found = [label for label, (a, b) in HEADER_TEXTS.items() if profile.header[a:b].strip(b"\0 ")]
    for name, body in profile.tags:
        label = name.decode("latin-1").strip()
        if name in (b"desc", b"cprt"):
            text = text_of(body)
            if text != REMOVED and not PUBLIC_NAMES.fullmatch(text):
                found.append(f"{label} {text[:40]!r}")
        elif name not in NUMBERS or body[:4] not in NUMERIC_TYPES:
            found.append(label)
    return ["colour profile with more than numbers: " + ", ".join(found)] if found else []


def text_of(body: bytes) -> str:
    """Return the text of a tag of type 'desc', 'mluc' (its first language) or 'text', "" for other types."""
    if body[:4] == b"desc" and len(body) >= 12:
        return body[12 : 12 + struct.unpack_from(">I", body, 8)[0]].rstrip(b"\0").decode("latin-1")
    if body[:4] == b"mluc" and len(body) >= 28:
        size, start = struct.unpack_from(">II", body, 20)
        return body[start : start + size].decode("utf-16-be", "replace").rstrip("\0")
    return body[8:].rstrip(b"\0").decode("latin-1") if body[:4] == b"text" else ""
