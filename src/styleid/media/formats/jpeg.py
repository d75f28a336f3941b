"""Read JPEGs, and write them with the source's quantisation tables and subsampling.

A gain map after the first picture (Ultra HDR) is read and written again, redrawn where faces are. The video of a motion
photo is read, and another video can be written in its place. The other pictures of an MPO and thumbnails are left out,
because they contain further copies of faces. CMYK and YCCK are written as CMYK (plain, with the luma table for all four
inks), because printers reject RGB in place of CMYK; Adobe's inversion is kept. Damage inside the entropy-coded data is
not always detected, because decoders fill damaged areas with grey.
"""

from __future__ import annotations

import io
import struct
import threading
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from PIL import Image, ImageFile
from PIL.JpegImagePlugin import JpegImageFile

from styleid.media.containers.errors import BadFileError
from styleid.media.containers.jpeg import JpegParts, JpegSegment, jpeg_parts
from styleid.media.formats.decoded import Decoded, MovingPart, check_size, kept_profile, trailing_note
from styleid.media.formats.gain_map import GainMap, redrawn
from styleid.media.formats.kept import Kept
from styleid.media.formats.parse.allowed import ICC_PREFIX, JPEG_FRAMES, STRUCTURE
from styleid.media.formats.parse.exif import PREFIX, Density, ExifFacts, MetadataMode, read_exif
from styleid.media.formats.parse.following import FollowingData
from styleid.media.formats.parse.gain_map import ISO_PRIMARY
from styleid.media.formats.parse.jpeg_parts import (
    MPF_NAME,
    FoundGainMap,
    find_gain_map,
    further_pictures,
    mpf_payload,
)
from styleid.media.formats.parse.motion import NO_MOTION, FoundMotion, find_motion
from styleid.media.formats.raster import Layout, Raster, from_image, to_image, view_rgb
from styleid.media.provenance import JPEG_XMP
from styleid.types import MaskArray

_PROGRESSIVE = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
_LOSSLESS = frozenset({0xC3, 0xC7, 0xCB, 0xCF})
_BUFFER_LOCK = threading.Lock()
_SAME_SHAPE = 0.02
"""Maximum relative difference between the aspect ratios of a gain map and its picture."""


@dataclass(frozen=True)
class JpegEncoding:
    """How a JPEG was compressed.

    Attributes:
        tables: Quantisation tables, one per component; fewer if the last ones are equal.
        subsampling: Pillow's code: 0 for 4:4:4, 1 for 4:2:2, 2 for 4:2:0.
        progressive: Whether it is progressive.
        optimised: Whether its Huffman tables are not the standard ones.
        rgb_coded: Whether it stores RGB, not YCbCr.
        source_bytes: Size of the source's first picture.
        gain_map: The gain map to write after the picture, if any.
        moving: The video to write after the picture, if any; never the source's video.
    """

    tables: tuple[tuple[int, ...], ...]
    subsampling: int
    progressive: bool
    optimised: bool
    rgb_coded: bool
    source_bytes: int
    gain_map: GainMap | None = None
    moving: MovingPart | None = None


@dataclass(frozen=True)
class _Frame:
    """A start-of-frame segment. components: (identifier, horizontal and vertical sampling, quantisation table)."""

    marker: int
    precision: int
    height: int
    width: int
    components: tuple[tuple[int, int, int, int], ...]


def decode(data: bytes, max_pixels: int) -> Decoded:
    """Decode the first picture of a JPEG, its gain map and the video of a motion photo.

    Args:
        data: The whole file.
        max_pixels: Limit for width * height.

    Raises:
        BadFileError: The file is damaged, too large or of an unsupported kind. Decoders may raise other errors, too.
    """
    parts = jpeg_parts(data)
    frame = _frame(parts.segments)
    check_size(frame.width, frame.height, max_pixels)
    bare = _bare(data, parts)
    image = JpegImageFile(io.BytesIO(bare))
    layout = {"L": Layout.GREY, "RGB": Layout.RGB, "CMYK": Layout.CMYK}[image.mode]  # Pillow opens no others
    raster = Raster(from_image(image), layout)
    image.close()
    rgb_coded = layout is Layout.RGB and _is_rgb_coded(parts.segments, frame)
    motion = find_motion(data, _xmp_packets(parts), parts.end)
    gain_map, left_out = _further(data, parts, raster, max_pixels, motion)
    encoding = JpegEncoding(
        tables=_tables(image, frame),
        subsampling=0 if rgb_coded else _subsampling(frame),
        progressive=frame.marker in _PROGRESSIVE,
        optimised=not _huffman_tables(parts.segments) <= _standard_huffman_tables(),
        rgb_coded=rgb_coded,
        source_bytes=len(bare),
        gain_map=gain_map,
    )
    facts = next((read_exif(s.payload) for s in parts.segments if _is_exif(s)), ExifFacts())
    profile, notes = kept_profile(_icc(parts.segments), raster, facts)
    kept = Kept(facts.orientation, _density(parts.segments) or facts.density, profile, facts.exposure)
    moving = None if motion is None else MovingPart(data[motion.start : motion.end], motion.facts)
    return Decoded(raster, kept, encoding, (*notes, *left_out, *_notes(parts, layout)), moving)


def encode(raster: Raster, kept: Kept, encoding: JpegEncoding, metadata: MetadataMode) -> bytes:
    """Encode a raster like the source.

    Args:
        raster: The pixels, with the layout of the source.
        kept: The metadata to write.
        encoding: How the source was compressed.
        metadata: "strip" or "safe".
    """
    mode = {Layout.GREY: "L", Layout.RGB: "RGB", Layout.CMYK: "CMYK"}[raster.layout]
    image = to_image(raster.samples, mode)
    exif = kept.exif(metadata)
    options: dict[str, Any] = {
        "qtables": [list(t) for t in encoding.tables],
        "subsampling": encoding.subsampling,
        "keep_rgb": encoding.rgb_coded,
        "icc_profile": kept.icc_profile,
        "exif": PREFIX + exif if exif else b"",
    }
    tuned = {"progressive": encoding.progressive, "optimize": encoding.progressive or encoding.optimised}
    try:
        data = _saved(image, options | tuned, 3 * encoding.source_bytes if any(tuned.values()) else 0)
    except OSError:
        data = _saved(image, options, 0)
    data = _with_density(data, kept.density, cmyk=mode == "CMYK")
    if encoding.gain_map is None and encoding.moving is None:
        return with_mark(data, kept.mark)
    return _with_following(data, encoding, marked=bool(kept.mark))


def redraw(encoding: JpegEncoding, raster: Raster, changed: MaskArray) -> JpegEncoding:
    """Return the encoding of a JPEG whose pixels have changed: its gain map is redrawn where they did.

    Args:
        encoding: How the source was compressed.
        raster: The new pixels.
        changed: bool (h, w), where pixels changed, as stored.
    """
    if encoding.gain_map is None:
        return encoding
    return replace(encoding, gain_map=redrawn(encoding.gain_map, view_rgb(raster), changed))


def with_mark(data: bytes, mark: bytes) -> bytes:
    """Return a JPEG with an XMP packet after its JFIF and EXIF segments; unchanged if the packet is empty."""
    return _with_segments(data, (0xE1, JPEG_XMP + mark)) if mark else data


def _with_segments(data: bytes, *segments: tuple[int, bytes]) -> bytes:
    """Return a JPEG with segments, given as (marker, payload), inserted after its JFIF and EXIF segments."""
    first = jpeg_parts(data).segments
    at = next(s.start for s in first if s.marker != 0xE0 and not _is_exif(s))
    made = (bytes([0xFF, marker]) + struct.pack(">H", 2 + len(payload)) + payload for marker, payload in segments)
    return data[:at] + b"".join(made) + data[at:]


def _with_following(data: bytes, encoding: JpegEncoding, *, marked: bool) -> bytes:
    """Append a gain map, a video or both to a JPEG.

    Both are described in XMP, a gain map also in segments of MPF and ISO 21496-1, so that all kinds of readers find
    them.
    """
    second = b"" if encoding.gain_map is None else _encoded_gain_map(encoding.gain_map)
    video, motion = (b"", NO_MOTION) if encoding.moving is None else (encoding.moving.data, encoding.moving.motion)
    packet = FollowingData(len(second), len(video), motion).packet(marked=marked)
    if not second:
        return with_mark(data, packet) + video
    first = _with_segments(data, (0xE1, JPEG_XMP + packet), (0xE2, ISO_PRIMARY))
    at = next(s.end for s in jpeg_parts(first).segments if s.payload == ISO_PRIMARY)
    length = len(first) + 4 + len(mpf_payload(0, 0, 0))
    mpf = mpf_payload(length, length - (at + 8), len(second))  # offsets count from after marker, length and name
    return first[:at] + b"\xff\xe2" + struct.pack(">H", 2 + len(mpf)) + mpf + first[at:] + second + video


def _encoded_gain_map(gain_map: GainMap) -> bytes:
    """Return a gain map as a JPEG with its numbers in the forms of ISO 21496-1 and of Google's XMP."""
    numbers = gain_map.numbers
    data = encode(gain_map.raster, Kept(icc_profile=gain_map.icc_profile), gain_map.encoding, "strip")
    return _with_segments(data, (0xE1, JPEG_XMP + numbers.xmp()), (0xE2, numbers.iso()))


def with_room(data: bytes, more: int) -> bytes:
    """Return a JPEG whose list of pictures (MPF), if any, is right once `more` bytes are inserted before that list.

    Signing inserts such bytes.
    """
    parts = jpeg_parts(data)
    listed = next((s for s in parts.segments if s.marker == 0xE2 and s.payload.startswith(MPF_NAME)), None)
    if listed is None:
        return data
    header = listed.start + 4 + len(MPF_NAME)
    second = jpeg_parts(data[parts.end :]).end
    payload = mpf_payload(parts.end + more, parts.end - header, second)
    return data[: listed.end - len(payload)] + payload + data[listed.end :]


def _saved(image: Image.Image, options: dict[str, Any], buffer_bytes: int) -> bytes:
    """Save with Pillow, with a buffer of the given size.

    In progressive and optimised mode, Pillow needs a buffer for the whole output and derives its size from the number
    of pixels, which is too small for fine quantisation tables.
    """
    out = io.BytesIO()
    if buffer_bytes <= image.width * image.height:
        image.save(out, "JPEG", **options)
        return out.getvalue()
    with _BUFFER_LOCK:
        before = ImageFile.MAXBLOCK
        ImageFile.MAXBLOCK = max(before, buffer_bytes)
        try:
            image.save(out, "JPEG", **options)
        finally:
            ImageFile.MAXBLOCK = before
    return out.getvalue()


def _frame(segments: tuple[JpegSegment, ...]) -> _Frame:
    found = next((s for s in segments if s.marker in JPEG_FRAMES), None)
    if found is None or len(found.payload) < 6:
        raise BadFileError("the JPEG is damaged: it has no frame header")
    precision, height, width, count = struct.unpack_from(">BHHB", found.payload)
    if len(found.payload) < 6 + 3 * count or not count:
        raise BadFileError("the JPEG is damaged: its frame header is too short")
    if found.marker in _LOSSLESS:
        raise BadFileError("it is a lossless JPEG, which cannot be written again. Convert it to PNG or TIFF first")
    if precision != 8:
        raise BadFileError(f"it is a JPEG of {precision} bits per sample, not 8. Convert it to PNG or TIFF first")
    components: list[tuple[int, int, int, int]] = []
    for index in range(count):
        name, sampling, table = found.payload[6 + 3 * index : 9 + 3 * index]
        components.append((name, sampling >> 4, sampling & 15, table))
    return _Frame(found.marker, precision, height, width, tuple(components))


def _bare(data: bytes, parts: JpegParts) -> bytes:
    """Return the first picture without metadata, except the two segments that state its colour space."""
    pieces = [b"\xff\xd8"]
    for segment in parts.segments:
        if segment.marker in STRUCTURE:
            pieces.append(data[segment.start : segment.end])
        elif segment.marker == 0xE0 and segment.payload[:5] == b"JFIF\0" and len(segment.payload) >= 14:
            pieces.append(b"\xff\xe0\0\x10" + segment.payload[:12] + b"\0\0")
        elif _is_adobe(segment):
            pieces.append(b"\xff\xee\0\x0e" + segment.payload[:12])
    return b"".join([*pieces, b"\xff\xd9"])


def _tables(image: JpegImageFile, frame: _Frame) -> tuple[tuple[int, ...], ...]:
    tables = [tuple(image.quantization[component[3]]) for component in frame.components]
    if len(frame.components) == 4:
        return (tables[0],)
    while len(tables) > 1 and tables[-1] == tables[-2]:
        tables.pop()
    return tuple(tables)


def _subsampling(frame: _Frame) -> int:
    """Return Pillow's code: 0 for 4:4:4, 1 for 4:2:2, 2 for 4:2:0; others map to the nearest that is as fine."""
    if len(frame.components) != 3:
        return 0
    (_, h, v, _), *chroma = frame.components
    finest_h, finest_v = max(c[1] for c in chroma), max(c[2] for c in chroma)
    if h < 2 * finest_h:
        return 0
    return 2 if v >= 2 * finest_v else 1


def _huffman_tables(segments: tuple[JpegSegment, ...]) -> frozenset[bytes]:
    tables: set[bytes] = set()
    for segment in segments:
        payload = segment.payload if segment.marker == 0xC4 else b""
        while len(payload) >= 17:
            size = 17 + sum(payload[1:17])
            tables.add(payload[:size])
            payload = payload[size:]
    return frozenset(tables)


@lru_cache(maxsize=1)
def _standard_huffman_tables() -> frozenset[bytes]:
    out = io.BytesIO()
    Image.new("RGB", (8, 8)).save(out, "JPEG")
    return _huffman_tables(jpeg_parts(out.getvalue()).segments)


def _is_adobe(segment: JpegSegment) -> bool:
    return segment.marker == 0xEE and segment.payload[:5] == b"Adobe" and len(segment.payload) >= 12


def _is_exif(segment: JpegSegment) -> bool:
    return segment.marker == 0xE1 and segment.payload.startswith(PREFIX)


def _is_rgb_coded(segments: tuple[JpegSegment, ...], frame: _Frame) -> bool:
    if any(s.marker == 0xE0 and s.payload[:5] == b"JFIF\0" for s in segments):
        return False
    adobe = next((s for s in segments if _is_adobe(s)), None)
    return adobe.payload[11] == 0 if adobe else tuple(c[0] for c in frame.components) == tuple(b"RGB")


def _xmp_packets(parts: JpegParts) -> list[bytes]:
    payloads = (s.payload for s in parts.segments if s.marker == 0xE1 and s.payload.startswith(JPEG_XMP))
    return [payload.removeprefix(JPEG_XMP) for payload in payloads]


def _icc(segments: tuple[JpegSegment, ...]) -> bytes | None:
    """Return the profile joined from its numbered segments, None if there is none, b"damaged" if one is missing."""
    pieces = {s.payload[12]: s.payload for s in segments
              if s.marker == 0xE2 and s.payload.startswith(ICC_PREFIX) and len(s.payload) > 14}  # fmt: skip
    if not pieces:
        return None
    if sorted(pieces) != list(range(1, len(pieces) + 1)):
        return b"damaged"
    return b"".join(pieces[number][14:] for number in sorted(pieces))


def _density(segments: tuple[JpegSegment, ...]) -> Density | None:
    jfif = next((s.payload for s in segments if s.marker == 0xE0 and s.payload[:5] == b"JFIF\0"), b"")
    if len(jfif) < 12:
        return None
    unit, x, y = struct.unpack_from(">BHH", jfif, 7)
    if unit > 2 or (unit == 0 and x == y):
        return None
    return Density(x, y, unit + 1) or None


def _with_density(data: bytes, density: Density | None, *, cmyk: bool) -> bytes:
    if density is None:
        return data
    x, y = (min(max(round(v), 1), 65535) for v in (density.x, density.y))
    numbers = struct.pack(">BHH", density.unit - 1, x, y)
    if data[2:4] == b"\xff\xe0":
        return data[:13] + numbers + data[18:]
    return data[:2] + b"\xff\xe0\0\x10JFIF\0\x01\x01" + numbers + b"\0\0" + data[2:] if cmyk else data


def _further(
    data: bytes, parts: JpegParts, raster: Raster, max_pixels: int, motion: FoundMotion | None
) -> tuple[GainMap | None, tuple[str, ...]]:
    """Return the gain map after the first picture, and notes on data that is left out."""
    try:
        found = find_gain_map(data, parts)
        gain_map = None if found is None else _read_gain_map(data, found, raster, max_pixels)
    except Exception as error:  # decoders raise errors of any type on damaged files
        return None, (f"the gain map was left out, so HDR displays show nothing brighter than white ({error})",)
    return gain_map, _left_out(data, parts, found, motion)


def _read_gain_map(data: bytes, found: FoundGainMap, raster: Raster, max_pixels: int) -> GainMap:
    inner = decode(data[found.start : found.end], max_pixels)
    (height, width), (map_height, map_width) = raster.size, inner.raster.size
    if Layout.CMYK in (raster.layout, inner.raster.layout):
        raise BadFileError("gain maps of CMYK pictures are not supported")
    if abs(map_width * height / (map_height * width) - 1) > _SAME_SHAPE + 1 / min(map_width, map_height):
        raise BadFileError("its aspect ratio differs from the picture's")
    profile = None if found.numbers.base_colours else inner.kept.icc_profile
    return GainMap(inner.raster, found.numbers, profile, inner.encoding)


def _left_out(data: bytes, parts: JpegParts, found: FoundGainMap | None, motion: FoundMotion | None) -> tuple[str, ...]:
    """Return a note on data after the first picture that is neither a gain map nor a motion photo's video."""
    others = [start for start in further_pictures(data, parts) if found is None or start != found.start]
    listed = any(s.marker == 0xE2 and s.payload.startswith(MPF_NAME) for s in parts.segments)
    if others or (listed and found is None):
        return ("the file contains further pictures (MPO, a preview or a gain map): only the first is written",)
    if motion is not None:  # the other bytes describe the video
        return ()
    return trailing_note(data, parts.end if found is None else found.end)


def _notes(parts: JpegParts, layout: Layout) -> tuple[str, ...]:
    adobe = next((s for s in parts.segments if _is_adobe(s)), None)
    turned = layout is Layout.CMYK and adobe is not None and adobe.payload[11] == 2
    return ("YCCK was written as plain CMYK",) if turned else ()
