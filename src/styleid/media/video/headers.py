"""Read header fields of MP4, QuickTime and Matroska files that PyAV does not provide.

These are the part of the picture that is shown, other ways to hide parts of it, and whether the file is complete.

Convention
----------
An aperture is the part of a **stored** picture that players show. Its box is x0, y0, x1, y1 in whole pixels, never
larger than that part: fractions of a pixel are cut off.
"""

from __future__ import annotations

import math
import mmap
import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Protocol

from styleid.media.containers.errors import BadFileError
from styleid.media.containers.iso import Box

Bytes = bytes | mmap.mmap
PixelBox = tuple[int, int, int, int]

_MOST_INFLATED = 256 << 20
_VISUAL_ENTRY_BYTES = 78
_REST_BYTES = 64
_BEGINNINGS = {
    "flv": re.compile(rb"FLV\x01[\x00-\x05]\x00\x00\x00\x09"),
    "asf": re.compile(rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9\x00\xaa\x00\x62\xce\x6c"),
    "ivf": re.compile(rb"DKIF\x00\x00\x20\x00"),
}
"""First bytes of formats of which FFmpeg reads only the first recording in a file."""
_ONE_IS_READ = "several recordings were joined in it, and only the first could be read. Split it first"
_EBML, _SEGMENT, _CLUSTER, _TRACKS, _ENTRY = 0x1A45DFA3, 0x18538067, 0x1F43B675, 0x1654AE6B, 0xAE
_TYPE, _VIDEO, _PICTURE = 0x83, 0xE0, 1
_CROPS = (0x54CC, 0x54BB, 0x54DD, 0x54AA)
"""Matroska's PixelCropLeft, -Top, -Right and -Bottom."""


class Aperture(Protocol):
    """The part of a stored picture that is shown."""

    def box(self, width: int, height: int) -> PixelBox:
        """Return the shown part of a picture of the given size, in whole pixels."""
        ...


@dataclass(frozen=True)
class CleanAperture:
    """The clean aperture (`clap`) of an MP4 or QuickTime file.

    Attributes:
        width: Width in pixels.
        height: Height in pixels.
        across: Horizontal distance from the centre of the picture to the centre of the aperture, in pixels.
        down: The same vertically.
    """

    width: Fraction
    height: Fraction
    across: Fraction
    down: Fraction

    def box(self, width: int, height: int) -> PixelBox:
        """Return the shown part of a picture of the given size, in whole pixels."""
        left, top = (width - self.width) / 2 + self.across, (height - self.height) / 2 + self.down
        right, bottom = left + self.width, top + self.height
        return (
            max(math.ceil(left), 0),
            max(math.ceil(top), 0),
            min(math.floor(right), width),
            min(math.floor(bottom), height),
        )


@dataclass(frozen=True)
class PixelCrop:
    """Matroska's PixelCrop: the number of pixels to cut off on each side."""

    left: int = 0
    top: int = 0
    right: int = 0
    bottom: int = 0

    def box(self, width: int, height: int) -> PixelBox:
        """Return the shown part of a picture of the given size, in whole pixels."""
        return self.left, self.top, width - self.right, height - self.bottom


@dataclass
class Headers:
    """Fields of a video file's headers.

    Attributes:
        apertures: Apertures by track number (MP4) or by place among the video tracks (Matroska); several for one track
            if headers disagree.
        unread: Something that hides parts of the picture and is not supported, as text for a message; "" for nothing.
        whole: Whether the file is as long as its header says.
        ends_at: Whether the stated duration is the last time stamp, not the length.
        counted: Whether `apertures` is by place.
    """

    apertures: dict[int, set[Aperture | None]] = field(default_factory=dict[int, set[Aperture | None]])
    unread: str = ""
    whole: bool = True
    ends_at: bool = False
    counted: bool = False

    def aperture(self, number: int, place: int, tracks: int) -> Aperture | None:
        """Return a track's aperture, None if the whole picture is shown.

        Args:
            number: Number of the track in the file, which FFmpeg keeps for MP4 only.
            place: Its place among the video tracks, from 0.
            tracks: Number of video tracks that FFmpeg finds.

        Raises:
            BadFileError: Headers disagree, or it is not clear which track a crop belongs to.
        """
        every = set[Aperture | None]().union(*self.apertures.values())
        if every <= {None}:
            return None
        found = self.apertures.get(place if self.counted else number, set())
        if len(found) != 1 or (self.counted and len(self.apertures) != tracks):
            raise BadFileError("its headers disagree about which part of the picture is shown")
        return next(iter(found))


def read_headers(path: Path, container: str) -> Headers:
    """Read the headers of a video file.

    Args:
        path: The file, which FFmpeg could open.
        container: FFmpeg's name of its format.

    Returns:
        The fields; default values for formats that cannot hide parts of a picture this way.

    Raises:
        BadFileError: The headers are damaged, or the file consists of several recordings of which FFmpeg reads one.
    """
    names = set(container.split(","))
    if not names & {"mov", "matroska", *_BEGINNINGS}:
        return Headers(ends_at="nut" in names)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        try:
            if known := names & _BEGINNINGS.keys():
                return _read_single(data, _BEGINNINGS[known.pop()])
            return _read_movie(data) if "mov" in names else _read_matroska(data)
        except (struct.error, IndexError, zlib.error, ZeroDivisionError) as error:
            raise BadFileError("its headers are damaged") from error


def _read_single(data: Bytes, beginning: re.Pattern[bytes]) -> Headers:
    if beginning.search(data, 1):
        raise BadFileError(_ONE_IS_READ)
    return Headers()


def _read_movie(data: Bytes) -> Headers:
    headers, boxes = Headers(), _boxes(data, 0, len(data))
    movies = [box for box in boxes if box.kind == b"moov"]
    if not movies:
        raise BadFileError("its list of tracks was not found")
    for movie in movies:
        _read_tracks(data, movie, headers)
    if any(box.kind == b"moof" for box in boxes):
        headers.ends_at = True
        headers.whole = not data[boxes[-1].end : boxes[-1].end + _REST_BYTES].strip(b"\0")
    elif len(movies) > 1:
        raise BadFileError(_ONE_IS_READ)
    return headers


def _read_tracks(data: Bytes, movie: Box, headers: Headers) -> None:
    for box in _boxes(data, movie.start, movie.end):
        if box.kind == b"cmov":
            inner = _inflated(data, box)
            for again in _boxes(inner, 0, len(inner)):
                _read_tracks(inner, again, headers)
        elif box.kind == b"clip":
            headers.unread = "a clipping region"
        elif box.kind == b"trak":
            _read_track(data, box, headers)


def _inflated(data: Bytes, box: Box) -> bytes:
    """Decompress a movie header, a `moov` box in zlib."""
    body = next((b for b in _boxes(data, box.start, box.end) if b.kind == b"cmvd"), None)
    if body is None:
        raise BadFileError("its compressed header is damaged")
    return zlib.decompressobj().decompress(data[body.start + 4 : body.end], _MOST_INFLATED)


def _read_track(data: Bytes, track: Box, headers: Headers) -> None:
    parts = {box.kind: box for box in _boxes(data, track.start, track.end)}
    if b"clip" in parts or b"matt" in parts:
        headers.unread = "a clipping region or a matte"
    media = _down(data, parts.get(b"mdia"))
    entries = _down(data, _down(data, media.get(b"minf")).get(b"stbl")).get(b"stsd")
    handler, header = media.get(b"hdlr"), parts.get(b"tkhd")
    if entries is None or handler is None or header is None:
        return
    kind = data[handler.start + 8 : handler.start + 12]
    if kind not in (b"vide", b"auxv", b"pict"):
        return
    number = struct.unpack_from(">I", data, header.start + (20 if data[header.start] else 12))[0]
    for entry in _boxes(data, entries.start + 8, entries.end):
        inside = _boxes(data, entry.start + _VISUAL_ENTRY_BYTES, entry.end)
        found = [_clean_aperture(data, box) for box in inside if box.kind == b"clap"]
        headers.apertures.setdefault(number, set()).update(found or [None])
        if kind == b"auxv" and not _is_depth(data, inside):
            headers.unread = "transparency in a separate track"


def _is_depth(data: Bytes, boxes: list[Box]) -> bool:
    return any(b"depth" in data[box.start : box.end] for box in boxes if box.kind == b"auxi")


def _clean_aperture(data: Bytes, box: Box) -> CleanAperture:
    numbers = struct.unpack_from(">IIIIiIiI", data, box.start)
    width, height, across, down = (Fraction(numbers[i], numbers[i + 1]) for i in range(0, 8, 2))
    return CleanAperture(width, height, across, down)


def _down(data: Bytes, box: Box | None) -> dict[bytes, Box]:
    return {} if box is None else {inner.kind: inner for inner in _boxes(data, box.start, box.end)}


def _boxes(data: Bytes, start: int, end: int) -> list[Box]:
    """Return the boxes between two offsets up to the first invalid one; QuickTime ends some lists with zeros."""
    boxes: list[Box] = []
    position = start
    while position + 8 <= end:
        size, kind = struct.unpack_from(">I4s", data, position)
        body = position + 8
        if size == 1 and body + 8 <= end:
            size, body = struct.unpack_from(">Q", data, body)[0], body + 8
        stop = end if size == 0 and kind.strip(b"\0") else position + size
        if stop > end or stop < body:
            break
        boxes.append(Box(kind, position, body, stop))
        position = stop
    return boxes


def _read_matroska(data: Bytes) -> Headers:
    headers, tracks = Headers(ends_at=True, counted=True), 0
    segments = [element for element in elements(data, 0, len(data)) if element.kind == _SEGMENT]
    while segments:
        segment = segments.pop()
        headers.whole &= not segment.cut
        for part in elements(data, segment.start, segment.end):
            if part.kind == _SEGMENT:  # follows a segment of unknown size
                segments.append(part)
            elif part.kind == _TRACKS:
                _read_entries(data, part, headers)
                tracks += 1
    if not tracks:
        raise BadFileError("its list of tracks was not found")
    return headers


def _read_entries(data: Bytes, tracks: _Element, headers: Headers) -> None:
    entries = (e for e in elements(data, tracks.start, tracks.end) if e.kind == _ENTRY)
    parts = [{part.kind: part for part in elements(data, e.start, e.end)} for e in entries]
    pictures = [p for p in parts if _TYPE in p and p[_TYPE].number(data) == _PICTURE]
    for place, picture in enumerate(pictures):
        video = picture.get(_VIDEO)
        inside = elements(data, video.start, video.end) if video is not None else ()
        values = {part.kind: part.number(data) for part in inside}
        crop = PixelCrop(*(values.get(kind, 0) for kind in _CROPS))
        headers.apertures.setdefault(place, set()).add(None if crop == PixelCrop() else crop)


@dataclass(frozen=True)
class _Element:
    """An EBML element. open: whether its size is unknown. cut: whether the data ends before the element does."""

    kind: int
    start: int
    end: int
    open: bool
    cut: bool

    def number(self, data: Bytes) -> int:
        """Return the body as an unsigned number."""
        return int.from_bytes(data[self.start : min(self.end, self.start + 8)], "big")


def elements(data: Bytes, start: int, end: int) -> Iterator[_Element]:
    """Yield the EBML elements between two offsets; the content of one of unknown size follows it on the same level.

    Args:
        data: The whole file.
        start: Offset of the first element.
        end: Offset after the last element.
    """
    position = start
    while position + 2 <= end:
        width = 9 - data[position].bit_length()
        kind = int.from_bytes(data[position : position + width], "big")
        at = position + width
        if width > 4 or at >= end:
            return
        width = 9 - data[at].bit_length()
        if width > 8 or at + width > end:
            return
        size = int.from_bytes(data[at : at + width], "big") & ((1 << 7 * width) - 1)
        body = at + width
        unknown = size == (1 << 7 * width) - 1
        stop = end if unknown else min(body + size, end)
        yield _Element(kind, body, stop, unknown, not unknown and body + size > end)
        position = body if unknown and kind != _SEGMENT else stop
