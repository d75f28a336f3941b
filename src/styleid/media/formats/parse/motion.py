"""Find the video of a motion photo in a JPEG file.

Google's motion photos (version 1, and MicroVideo before it) say in XMP how long the video at the file's end is;
Samsung's have a trailer of named parts behind it. Other bytes behind a picture are none of these and are not read.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from xml.etree import ElementTree

from styleid.media.containers.jpeg import JpegParts
from styleid.media.provenance import JPEG_XMP

CAMERA = "http://ns.google.com/photos/1.0/camera/"
CONTAINER = "http://ns.google.com/photos/1.0/container/"
ITEM = CONTAINER + "item/"
UNKNOWN_TIME = -1
_OLD_CAMERA = "http://ns.google.com/photos/1.0/camera"
_SAMSUNG_VIDEO = 0x0A30
_BOXES = frozenset(b"ftyp moov mdat free skip wide uuid meta udta moof mfra sidx styp pdin".split())
_LONGEST_US = 60_000_000


@dataclass(frozen=True)
class MotionFacts:
    """Hold what says how a video belongs to its picture.

    shown_at_us: when in the video the picture was taken, microseconds, -1 where that is unknown. micro: whether
    readers of the older MicroVideo find it too.
    """

    shown_at_us: int = UNKNOWN_TIME
    micro: bool = False


NO_MOTION = MotionFacts()


@dataclass(frozen=True)
class FoundMotion:
    """Hold where a video lies in a file, start to end, and what is said of it."""

    start: int
    end: int
    facts: MotionFacts


def find_motion(data: bytes, parts: JpegParts) -> FoundMotion | None:
    """Return the video of a motion photo, None where the file names none, or none is where it says."""
    told = _camera_values(parts)
    starts = [*_by_directory(data, parts), *_by_offset(data, told), *_by_trailer(data)]
    for start in starts:
        if start >= parts.end and data[start + 4 : start + 8] == b"ftyp":
            micro = told.get("MicroVideo") == "1" and told.get("MotionPhoto") != "1"
            return FoundMotion(start, _end(data, start), MotionFacts(_shown_at(told), micro))
    return None


def _shown_at(told: dict[str, str]) -> int:
    for name in ("MotionPhotoPresentationTimestampUs", "MicroVideoPresentationTimestampUs"):
        text = told.get(name, "")
        if text.isascii() and text.isdigit() and int(text) <= _LONGEST_US:
            return int(text)
    return UNKNOWN_TIME


def _end(data: bytes, start: int) -> int:
    """Return where the last box of a video ends that begins at an offset."""
    at = start
    while at + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        if kind not in _BOXES:
            break
        if size == 1 and at + 16 <= len(data):
            size = struct.unpack_from(">Q", data, at + 8)[0]
        stop = len(data) if size == 0 else at + size
        if stop > len(data) or stop < at + 8:
            break
        at = stop
    return at


def _roots(parts: JpegParts) -> list[ElementTree.Element]:
    """Parse a file's XMP packets; what cannot be parsed counts as absent."""
    roots: list[ElementTree.Element] = []
    for segment in parts.segments:
        packet = segment.payload.removeprefix(JPEG_XMP)
        if segment.marker != 0xE1 or packet == segment.payload or b"<!" in packet:  # no XMP has declarations
            continue
        try:
            roots.append(ElementTree.fromstring(packet.strip(b"\0 \r\n\t")))
        except (ElementTree.ParseError, ValueError, LookupError):
            continue
    return roots


def _camera_values(parts: JpegParts) -> dict[str, str]:
    """Return the properties of Google's camera namespace, as attributes or elements."""
    values: dict[str, str] = {}
    for element in (one for root in _roots(parts) for one in root.iter()):
        pairs = [*element.attrib.items(), (element.tag, element.text or "")]
        for name, text in pairs:
            space, _, own = name.removeprefix("{").partition("}")
            if space in (CAMERA, _OLD_CAMERA):
                values[own] = text.strip()
    return values


def _by_directory(data: bytes, parts: JpegParts) -> list[int]:
    """Return where the container directory says that the video begins: all parts are counted from the end."""
    items = [one for root in _roots(parts) for one in root.iter(f"{{{CONTAINER}}}Item")]
    at, starts = len(data), list[int]()
    for item in reversed(items):
        at -= _number(item, "Length")
        if item.get(f"{{{ITEM}}}Semantic") == "MotionPhoto":
            starts.append(at)
        at -= _number(item, "Padding")
    return starts


def _number(item: ElementTree.Element, name: str) -> int:
    text = item.get(f"{{{ITEM}}}{name}") or "0"
    return int(text) if text.isascii() and text.isdigit() else 0


def _by_offset(data: bytes, told: dict[str, str]) -> list[int]:
    text = told.get("MicroVideoOffset", "")
    return [len(data) - int(text)] if text.isascii() and text.isdigit() else []


def _by_trailer(data: bytes) -> list[int]:
    """Return where Samsung's trailer says that the video begins.

    The trailer ends with the length of its list of parts and "SEFT". The list begins with "SEFH", a version and a
    count; of each part it says the kind, how far before the list the part begins, and its length. A part begins with
    its kind and its name.
    """
    if data[-4:] != b"SEFT" or len(data) < 20:
        return []
    head = len(data) - 8 - struct.unpack_from("<I", data, len(data) - 8)[0]
    if head < 0 or data[head : head + 4] != b"SEFH":
        return []
    count = struct.unpack_from("<I", data, head + 8)[0]
    starts: list[int] = []
    for at in range(head + 12, min(head + 12 + 12 * count, len(data) - 19), 12):
        _, kind, back, _ = struct.unpack_from("<HHII", data, at)
        begin = head - back
        if kind == _SAMSUNG_VIDEO and 0 <= begin < head - 8:
            starts.append(begin + 8 + struct.unpack_from("<I", data, begin + 4)[0])
    return starts
