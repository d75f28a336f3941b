"""Find the video of a Live Photo: the QuickTime file of the same name that holds the same identifier.

Apple's cameras write the identifier into the maker note of the photo's EXIF (tag 17) and into the video's metadata
(`com.apple.quicktime.content.identifier`). Files that share only their name are not a pair.
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
"""Larger files are not considered: the video of a Live Photo lasts three seconds."""


def find_partner(photo: Path, data: bytes) -> Path | None:
    """Return the path of a Live Photo's video, None if the photo is no Live Photo or its video is missing.

    If several photos have the same name, such as a HEIC and its JPEG copy, only the first by name gets the video.

    Args:
        photo: Path of the photo.
        data: The photo's bytes.

    Raises:
        OSError: The photo's folder or a video in it cannot be read.
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
    """Return the Live Photo identifier in a photo's maker note, "" if there is none."""
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
    """Return the Live Photo identifier in a QuickTime file's metadata, "" if there is none."""
    try:
        movie = _inside(data, iso_boxes(data), b"moov")
        places = [*movie, *_inside(data, movie, b"udta")]  # Apple writes it into moov, FFmpeg into moov/udta
        meta = next((box for box in places if box.kind == b"meta"), None)
        if meta is None:
            return ""
        headless = data[meta.start + 4 : meta.start + 8] == b"hdlr"  # QuickTime's meta box has no version field
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
    """Return the number, from 1, of the identifier's key in a file's list of keys, 0 if it is not listed."""
    if keys is None:
        return 0
    entries = iso_boxes(data, keys.start + 8, keys.end)  # an entry is a length, "mdta" and the key's name
    return next((k for k, one in enumerate(entries, 1) if data[one.start : one.end] == _KEY), 0)


def _text(value: bytes) -> str:
    return value.rstrip(b"\0").decode("latin-1")
