"""Find the video of a motion photo after the picture of a file.

Google's motion photos (version 1, and MicroVideo before it) state in XMP the length of the video at the end of the
file. Samsung's have a trailer of named parts after the video. Other data after a picture is not read.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree import ElementTree

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
    """How a video relates to its picture.

    Attributes:
        shown_at_us: Time in the video at which the picture was taken, in microseconds; -1 if unknown.
        micro: Whether the source is declared only in the older format MicroVideo; outputs are then declared in both.
    """

    shown_at_us: int = UNKNOWN_TIME
    micro: bool = False


NO_MOTION = MotionFacts()


@dataclass(frozen=True)
class FoundMotion:
    """A video found in a file: its byte range and how it relates to the picture."""

    start: int
    end: int
    facts: MotionFacts


def find_motion(data: bytes, packets: Sequence[bytes], picture_end: int) -> FoundMotion | None:
    """Return the video of a motion photo, None if the file names none or there is no video at the place that it names.

    Args:
        data: The whole file.
        packets: Its XMP packets.
        picture_end: Offset after the picture; the video must not begin before it.
    """
    values = _camera_values(packets)
    starts = [*_by_directory(data, packets), *_by_offset(data, values), *_by_trailer(data)]
    for start in starts:
        if start >= picture_end and is_movie(data, start):
            return FoundMotion(start, _end(data, start), motion_facts(packets))
    return None


def is_movie(data: bytes, start: int) -> bool:
    """Return whether an MP4 or QuickTime file begins at an offset."""
    return data[start + 4 : start + 8] == b"ftyp"


def motion_facts(packets: Sequence[bytes]) -> MotionFacts:
    """Return how a video relates to its picture, from XMP packets."""
    values = _camera_values(packets)
    return MotionFacts(_shown_at(values), values.get("MicroVideo") == "1" and values.get("MotionPhoto") != "1")


def _shown_at(values: dict[str, str]) -> int:
    for name in ("MotionPhotoPresentationTimestampUs", "MicroVideoPresentationTimestampUs"):
        text = values.get(name, "")
        if text.isascii() and text.isdigit() and int(text) <= _LONGEST_US:
            return int(text)
    return UNKNOWN_TIME


def _end(data: bytes, start: int) -> int:
    """Return the offset after the last box of a video that begins at `start`."""
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


def _roots(packets: Sequence[bytes]) -> list[ElementTree.Element]:
    """Parse XMP packets; those that cannot be parsed are ignored."""
    roots: list[ElementTree.Element] = []
    for packet in packets:
        if b"<!" in packet:  # XMP has no declarations
            continue
        try:
            roots.append(ElementTree.fromstring(packet.strip(b"\0 \r\n\t")))
        except (ElementTree.ParseError, ValueError, LookupError):
            continue
    return roots


def _camera_values(packets: Sequence[bytes]) -> dict[str, str]:
    """Return the properties in Google's camera namespace, which may be attributes or elements."""
    values: dict[str, str] = {}
    for element in (one for root in _roots(packets) for one in root.iter()):
        pairs = [*element.attrib.items(), (element.tag, element.text or "")]
        for name, text in pairs:
            space, _, own = name.removeprefix("{").partition("}")
            if space in (CAMERA, _OLD_CAMERA):
                values[own] = text.strip()
    return values


def _by_directory(data: bytes, packets: Sequence[bytes]) -> list[int]:
    """Return the offsets of videos that the container directory lists; it gives lengths, counted from the end."""
    items = [one for root in _roots(packets) for one in root.iter(f"{{{CONTAINER}}}Item")]
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


def _by_offset(data: bytes, values: dict[str, str]) -> list[int]:
    text = values.get("MicroVideoOffset", "")
    return [len(data) - int(text)] if text.isascii() and text.isdigit() else []


def _by_trailer(data: bytes) -> list[int]:
    """Return the offsets of videos in Samsung's trailer; a video follows the type and the name of its part."""
    videos = [begin for kind, begin in _trailer_parts(data) if kind == _SAMSUNG_VIDEO and begin + 8 <= len(data)]
    return [begin + 8 + struct.unpack_from("<I", data, begin + 4)[0] for begin in videos]


def trailer_start(data: bytes) -> int:
    """Return the offset of Samsung's trailer, the length of the file if there is none."""
    return min((begin for _, begin in _trailer_parts(data)), default=len(data))


def _trailer_parts(data: bytes) -> list[tuple[int, int]]:
    """Return type and offset of each part of Samsung's trailer.

    The trailer ends with the length of its list of parts and "SEFT". The list begins with "SEFH", a version and a
    count; an entry has the part's type, the distance from the part to the list, and its length. A part begins with its
    type and its name.
    """
    if data[-4:] != b"SEFT" or len(data) < 20:
        return []
    head = len(data) - 8 - struct.unpack_from("<I", data, len(data) - 8)[0]
    if head < 0 or data[head : head + 4] != b"SEFH":
        return []
    count = struct.unpack_from("<I", data, head + 8)[0]
    parts: list[tuple[int, int]] = []
    for at in range(head + 12, min(head + 12 + 12 * count, len(data) - 19), 12):
        _, kind, back, _ = struct.unpack_from("<HHII", data, at)
        if 0 <= head - back < head - 8:
            parts.append((kind, head - back))
    return parts
