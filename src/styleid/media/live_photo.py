"""Find the video that makes a photo a Live Photo: the QuickTime file beside it that names the same identifier.

Apple's cameras write the identifier into the maker's note of the photo's EXIF (tag 17) and into the video's metadata
(`com.apple.quicktime.content.identifier`). A common name alone makes no pair.
"""

from __future__ import annotations

import struct
from pathlib import Path

from styleid.media.containers.errors import BadFileError
from styleid.media.containers.iso import Box, iso_boxes
from styleid.media.formats.parse.sniff import IMAGE_SUFFIXES

_NOTE = b"Apple iOS\0\0\x01MM"
_IDENTIFIER_TAG, _ASCII = 17, 2
_KEY = b"com.apple.quicktime.content.identifier"
_MOST_BYTES = 256 << 20
"""Live Photos last three seconds; what is larger is no such video."""


def find_partner(photo: Path, data: bytes) -> Path | None:
    """Return the video of a Live Photo, None where the photo is none or its video is not there.

    Of several photos of one name, such as a HEIC and a JPEG of it, the first in order has the video.

    Args:
        photo: Where the photo is.
        data: Its bytes.
    """
    if not (wanted := photo_identifier(data)):
        return None
    beside = sorted(one for one in photo.parent.iterdir() if one.stem == photo.stem)
    photos = [one for one in beside if one.suffix.lower() in IMAGE_SUFFIXES]
    if photos and photos[0] != photo:
        return None
    movies = (one for one in beside if one.suffix.lower() == ".mov" and one.is_file())
    small = (one for one in movies if one.stat().st_size <= _MOST_BYTES)
    return next((one for one in small if movie_identifier(one.read_bytes()) == wanted), None)


def photo_identifier(data: bytes) -> str:
    """Return the identifier in a photo's maker's note, "" where there is none."""
    note = data.find(_NOTE)
    if note < 0:
        return ""
    try:
        (count,) = struct.unpack_from(">H", data, note + len(_NOTE))
        for at in range(note + len(_NOTE) + 2, note + len(_NOTE) + 2 + 12 * count, 12):
            tag, kind, length, offset = struct.unpack_from(">HHII", data, at)
            if (tag, kind) == (_IDENTIFIER_TAG, _ASCII) and 4 < length <= 64:
                return _text(data[note + offset : note + offset + length])
    except struct.error:
        pass
    return ""


def movie_identifier(data: bytes) -> str:
    """Return the identifier in a QuickTime file's metadata, "" where there is none."""
    try:
        movie = _inside(data, iso_boxes(data), b"moov")
        places = [*movie, *_inside(data, movie, b"udta")]  # Apple's, and FFmpeg's
        meta = next((box for box in places if box.kind == b"meta"), None)
        if meta is None:
            return ""
        headless = data[meta.start + 4 : meta.start + 8] == b"hdlr"  # as QuickTime has it; others put a version first
        parts = iso_boxes(data, meta.start if headless else meta.start + 4, meta.end)
        number = _number_of_key(data, next((b for b in parts if b.kind == b"keys"), None))
        items = _inside(data, parts, b"ilst")
        item = next((b for b in items if number and b.kind == number.to_bytes(4, "big")), None)
        value = None if item is None else next(iter(iso_boxes(data, item.start, item.end)), None)
    except (BadFileError, struct.error):
        return ""
    return "" if value is None else _text(data[value.start + 8 : value.end])


def _inside(data: bytes, boxes: list[Box], kind: bytes) -> list[Box]:
    box = next((one for one in boxes if one.kind == kind), None)
    return [] if box is None else iso_boxes(data, box.start, box.end)


def _number_of_key(data: bytes, keys: Box | None) -> int:
    """Return the place, from 1, of the identifier among a file's keys, 0 where it is not there."""
    if keys is None:
        return 0
    entries = iso_boxes(data, keys.start + 8, keys.end)  # each has a length and "mdta" before its name
    return next((k for k, one in enumerate(entries, 1) if data[one.start : one.end] == _KEY), 0)


def _text(value: bytes) -> str:
    return value.rstrip(b"\0").decode("latin-1")
