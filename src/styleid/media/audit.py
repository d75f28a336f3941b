"""Find everything in a picture file except its pixels and allowed metadata.

`encode_photo` runs this check on every output, and the tests run it on files of other tools. It reads the bytes that
were written and shares no code with the writers, only the parsers of `styleid.media.containers` and
`styleid.media.formats.parse`. The allow-lists are in `formats.parse.allowed` and `formats.parse.exif`. It cannot see
data inside compressed pixels, such as padding, watermarks and patterns in the lowest bits.

The XMP packet of `styleid.media.provenance` is allowed once, byte for byte, in the place that the format has for XMP.
The only other XMP that is allowed describes a gain map, or the video of a motion photo, by numbers alone.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable

from styleid.media.containers.errors import BadFileError
from styleid.media.containers.gif import gif_blocks
from styleid.media.containers.iso import Box
from styleid.media.containers.png import png_chunks
from styleid.media.containers.riff import riff_body, riff_chunks
from styleid.media.counts import counted
from styleid.media.formats.parse import c2pa
from styleid.media.formats.parse.allowed import (
    ALLOWED_TAGS,
    COLOUR_CHUNKS,
    ICC_TAG,
    PIXEL_PLACES,
    PROFILE_NAME,
)
from styleid.media.formats.parse.exif import MetadataMode, directory_leftovers, exif_leftovers
from styleid.media.formats.parse.following import VIDEO_BOX, VIDEO_HEADER_BYTES, FollowingData, described_motion
from styleid.media.formats.parse.heif_motion import xmp_packets
from styleid.media.formats.parse.hevc import foreign_units
from styleid.media.formats.parse.icc import profile_leftovers
from styleid.media.formats.parse.ifd import Directory, TiffReader, uncovered
from styleid.media.formats.parse.isobmff import HeifFile, Item, all_properties, read_heif
from styleid.media.formats.parse.jxl import ALPHA, JXL_SIGNATURE, JXL_TYPE, jxl_box, jxl_exif, jxl_head, jxl_parts
from styleid.media.formats.parse.movie import movie_leftovers
from styleid.media.formats.parse.sniff import sniff
from styleid.media.jpeg_audit import jpeg_leftovers
from styleid.media.leftovers import Marks, excerpt, trailing
from styleid.media.provenance import GIF_XMP, GIF_XMP_END, PNG_XMP, TIFF_XMP

__all__ = ["MetadataMode", "find_leftovers"]

_KNOWN_NAMES = frozenset({b"", b"Color", b"Alpha", b"Exif", b"libavif"})
_PROPERTIES = frozenset(b"ispe pixi av1C hvcC colr irot imir auxC pasp clap a1op a1lx lsel clli mdcv".split())
_PICTURES = frozenset({b"av01", b"hvc1", b"grid"})
_WEBP_PIXELS = frozenset({b"VP8 ", b"VP8L", b"ALPH"})
_MIME_XMP = (b"XMP\0application/rdf+xml", b"\0application/rdf+xml")
"""Name and content type of an XMP item, as libavif and libheif write them."""
_ALPHA = (b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha", b"urn:mpeg:hevc:2015:auxid:1")


def find_leftovers(data: bytes, metadata: MetadataMode = "safe") -> list[str]:
    """List everything in a picture file that the allow-list does not name.

    Args:
        data: The whole file.
        metadata: The allow-list: "strip", or "safe", which also allows exposure fields.

    Returns:
        One line for each finding; an empty list if there is none. A file that cannot be parsed, or whose format styleid
        does not write, gives one line that says so.
    """
    try:
        found = _PARSERS[sniff(data)](data, metadata)
    except BadFileError as error:
        return [f"not readable as a picture ({error})"]
    return list(dict.fromkeys(found))


def _png(data: bytes, metadata: MetadataMode) -> list[str]:
    chunks, end = png_chunks(data)
    found = trailing(data, end)
    lengths = COLOUR_CHUNKS | {b"IHDR": 13, b"pHYs": 9, b"IEND": 0}
    marks = Marks()
    for chunk in chunks:
        if chunk.kind in (b"PLTE", b"IDAT", b"tRNS") or lengths.get(chunk.kind) == len(chunk):
            continue
        if chunk.kind == b"eXIf":
            found += exif_leftovers(chunk.body, metadata)
        elif chunk.kind == b"iCCP":
            name, _, packed = chunk.body.partition(b"\0")
            if name not in (PROFILE_NAME, b"icc", b"ICC Profile"):
                found.append(f"PNG colour profile's name: {excerpt(name)}")
            found += _packed_profile(packed[1:])
        elif chunk.kind == b"iTXt" and chunk.body.startswith(PNG_XMP):
            found += marks.leftovers(chunk.body[len(PNG_XMP) :], "PNG chunk iTXt")
        elif chunk.kind == b"caBX":
            found += marks.manifest(chunk.body)
        else:
            size = counted(len(chunk), "byte")
            found.append(f"PNG chunk {chunk.kind.decode('latin-1')}: {excerpt(chunk.body)} ({size})")
    return found


def _webp(data: bytes, metadata: MetadataMode) -> list[str]:
    chunks, end = riff_chunks(data)
    found, marks = trailing(data, end), Marks()
    for chunk in chunks:
        if chunk.kind == b"EXIF":
            found += exif_leftovers(chunk.body, metadata)
        elif chunk.kind == b"ICCP":
            found += profile_leftovers(chunk.body)
        elif chunk.kind == b"XMP ":
            found += marks.leftovers(chunk.body, "WebP chunk XMP")
        elif chunk.kind == b"C2PA":
            found += marks.manifest(chunk.body)
        elif chunk.kind == b"ANMF":
            parts = [c.kind for c in riff_body(data, chunk.start + 16, chunk.end)]
            found += [f"WebP chunk {kind.decode('latin-1')!r} in a frame" for kind in parts if kind not in _WEBP_PIXELS]
        elif chunk.kind not in {*_WEBP_PIXELS, b"VP8X", b"ANIM"}:
            found.append(f"WebP chunk {chunk.kind.decode('latin-1')!r} ({counted(len(chunk), 'byte')})")
    return found


def _tiff(data: bytes, metadata: MetadataMode) -> list[str]:
    reader = TiffReader.open(data)
    found: list[str] = []
    marks = Marks()
    ranges = [(0, reader.header_bytes)]
    directories = reader.chain()
    if not directories:
        return ["TIFF without a page"]
    for number, directory in enumerate(directories):
        if number:
            found.append(f"TIFF page {number + 1}")
        allowed = ALLOWED_TAGS
        if (xmp := directory.fields.get(TIFF_XMP)) is not None:
            allowed, found = allowed | {TIFF_XMP}, found + marks.leftovers(xmp.values, "TIFF tag 700")
        if (store := directory.fields.get(c2pa.TIFF_MANIFEST)) is not None:
            allowed, found = allowed | {c2pa.TIFF_MANIFEST}, found + marks.manifest(store.values)
        found += directory_leftovers(reader, directory, metadata, where="TIFF", allowed=allowed, ranges=ranges)
        for offsets, counts in PIXEL_PLACES:
            places = zip(directory.ints(offsets), directory.ints(counts), strict=False)
            ranges += [(start, start + size) for start, size in places]
        profile = directory.fields.get(ICC_TAG)
        if profile is not None and isinstance(profile.values, bytes):
            found += profile_leftovers(profile.values)
    if c2pa.TIFF_MANIFEST in directories[0].fields:
        ranges += _superseded(reader, directories[0], ranges)
    if spare := uncovered(data, ranges):
        found.append(f"TIFF: {counted(spare, 'byte')} outside any tag")
    return found


def _superseded(reader: TiffReader, live: Directory, ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the byte ranges of the old directory that signing leaves in the file.

    It equals the current directory except for the manifest.
    """
    wanted = {tag: field for tag, field in live.fields.items() if tag != c2pa.TIFF_MANIFEST}
    for end in {end + end % 2 for _, end in ranges}:
        try:
            old = reader.directory(end)
        except BadFileError:
            continue
        if old.fields == wanted and not old.next_offset:
            return list(old.ranges)
    return []


def _bmp(data: bytes, metadata: MetadataMode) -> list[str]:
    del metadata
    pixels_at, size = struct.unpack_from("<II", data, 10)
    if size < 40 or len(data) < 14 + size:
        return ["BMP with an old header, which cannot be checked"]
    width, height, _, bits, compression, stored, _, _, colours = struct.unpack_from("<iiHHIIiiI", data, 18)
    row = (abs(width) * bits + 31) // 32 * 4
    length = stored if compression in (1, 2) else row * abs(height)
    masks = 12 if compression == 3 and size == 40 else 0
    palette = 4 * (colours or 1 << bits) if bits <= 8 else 4 * colours
    ranges = [(0, 14 + size + masks + palette), (pixels_at, pixels_at + length)]
    if size == 124 and data[70:74] in (b"DEBM", b"KNIL"):
        return ["BMP colour profile"]
    spare = uncovered(data, ranges)
    return [f"BMP: {counted(spare, 'byte')} outside header and pixels"] if spare else []


def _gif(data: bytes, metadata: MetadataMode) -> list[str]:
    del metadata
    blocks, end = gif_blocks(data)
    found, marks = trailing(data, end), Marks()
    pictures = sum(b.kind == "picture" for b in blocks)
    if pictures > 1:
        found.append(f"GIF: {counted(pictures - 1, 'further picture')}")
    for block in blocks:
        if block.kind == "fe":
            found.append(f"GIF comment: {excerpt(block.body[3:])}")
        elif block.body.startswith(GIF_XMP):
            found += marks.leftovers(block.body.removeprefix(GIF_XMP).removesuffix(GIF_XMP_END), "GIF extension")
        elif block.body.startswith(c2pa.GIF_MANIFEST):
            found += marks.manifest(c2pa.gif_store(block.body))
        elif block.kind not in ("picture", "f9"):
            size = counted(len(block.body), "byte")
            found.append(f"GIF extension {block.kind} {excerpt(block.body[3:14])} ({size})")
    return found


def _heif(data: bytes, metadata: MetadataMode) -> list[str]:
    file = read_heif(data)
    ranges = [(b.start, b.end) for b in file.boxes if b.kind != b"mdat"]
    ranges += [(start, end) for item in file.items.values() for start, end in item.places]
    ranges += [(b.at, b.start) for b in file.boxes]
    video = _video_box(file)
    plain = (b"ftyp", b"meta", b"mdat")
    others = [b for b in file.boxes if b.kind not in plain and b != video and data[b.start : b.end].strip(b"\0")]
    found = [] if video is None else _movie(data[video.start : video.end])
    marks = Marks(described=() if video is None else _descriptions(data, file, video))
    manifests = [b for b in others if b.kind == b"uuid" and data[b.start : b.end].startswith(c2pa.ISO_MANIFEST)]
    found += [f"box {b.kind.decode('latin-1')!r}" for b in others if b not in manifests]
    found += [line for b in manifests for line in marks.manifest(c2pa.iso_store(data[b.start : b.end]))]
    if spare := uncovered(data, ranges):
        found.append(f"{counted(spare, 'byte')} that no part of the file refers to")
    for box in file.meta:
        if box.kind not in (b"hdlr", b"pitm", b"iloc", b"iinf", b"iref", b"iprp", b"idat"):
            found.append(f"meta box {box.kind.decode('latin-1')!r}")
        elif box.kind == b"hdlr" and data[box.start + 24 : box.end].strip(b"\0") not in _KNOWN_NAMES:
            found.append(f"handler's name: {excerpt(data[box.start + 24 : box.end])}")
    for kind, body in all_properties(data, file.meta):
        if kind not in _PROPERTIES:
            found.append(f"property {kind.decode('latin-1')!r}")
        elif kind == b"colr" and body[:4] in (b"prof", b"rICC"):
            found += profile_leftovers(body[4:])
    for number, item in file.items.items():
        found += _item_leftovers(data, file, number, item, metadata, marks)
    return found + ["no XMP that describes only the video after the picture"] * marks.lack_description


def _video_box(file: HeifFile) -> Box | None:
    """Return the box with a motion photo's video: the last box, with a header of 8 bytes; None if there is none."""
    last = file.boxes[-1]
    return last if last.kind == VIDEO_BOX and last.start - last.at == VIDEO_HEADER_BYTES else None


def _movie(video: bytes) -> list[str]:
    try:
        return [f"motion photo: {line}" for line in movie_leftovers(video)]
    except BadFileError as error:
        return [f"motion photo: not readable as a video ({error})"]


def _descriptions(data: bytes, file: HeifFile, video: Box) -> list[bytes]:
    """Return the XMP packets, without and with the mark, that describe the video; the file must hold one of them."""
    facts = described_motion(b"".join(xmp_packets(data, file)))
    picture = "image/avif" if file.picture().kind == b"av01" else "image/heic"
    following = FollowingData(0, video.end - video.start, facts, picture)
    return [following.packet(marked=marked) for marked in (False, True)]


def _jxl(data: bytes, metadata: MetadataMode) -> list[str]:
    codestream, boxes = jxl_parts(data)
    head, marks = jxl_head(codestream), Marks()
    found = ["a preview"] * head.preview + ["an animation"] * head.animated
    found += ["a channel with a name"] * any(extra.name for extra in head.extras)
    found += [f"a channel of kind {extra.kind}" for extra in head.extras if extra.kind != ALPHA]
    heads = {b"JXL ": JXL_SIGNATURE[8:], b"ftyp": JXL_TYPE[8:]}
    for kind, body in boxes:
        if kind == b"Exif":
            before, block = jxl_exif(body)
            found += [f"bytes before the EXIF: {excerpt(before)}"] * bool(before) + exif_leftovers(block, metadata)
        elif kind == b"xml ":
            found += marks.leftovers(body, "JPEG XL box 'xml '")
        elif kind == b"jumb":
            found += marks.manifest(jxl_box(kind, body))
        elif heads.get(kind) != body and not (kind == b"jxll" and len(body) == 1):
            found.append(f"JPEG XL box {kind.decode('latin-1')!r} ({counted(len(body), 'byte')})")
    return found


def _item_leftovers(
    data: bytes, file: HeifFile, number: int, item: Item, metadata: MetadataMode, marks: Marks
) -> list[str]:
    found: list[str] = []
    if item.kind == b"mime":
        body = b"".join(data[start:end] for start, end in item.places)
        return marks.leftovers(body, "mime item") if item.name in _MIME_XMP else ["XMP or other text in a mime item"]
    if item.name not in _KNOWN_NAMES:
        found.append(f"item named {excerpt(item.name)}")
    links = {kind for kind, _ in item.links}
    if item.kind == b"Exif":
        block = b"".join(data[start:end] for start, end in item.places)
        skip = 4 + int.from_bytes(block[:4], "big")
        if block[4:skip].strip(b"\0") not in (b"", b"Exif"):
            found.append(f"bytes before the EXIF: {excerpt(block[4:skip])}")
        found += exif_leftovers(block[skip:], metadata)
    elif item.kind not in _PICTURES:
        found.append(f"item of kind {item.kind.decode('latin-1')!r}")
    elif item.kind == b"hvc1" and (foreign := _foreign_units(data, item)):
        found.append(f"H.265 units that are no part of the picture, of type {', '.join(map(str, foreign))}")
    elif b"thmb" in links:
        found.append("thumbnail")
    elif b"auxl" in links:
        kind = (item.property_body(b"auxC") or b"")[4:].split(b"\0")[0]
        if kind not in _ALPHA:
            found.append(f"auxiliary picture {excerpt(kind)}")
    elif number != file.primary and number not in _tiles(file):
        found.append("a further picture")
    return found


def _foreign_units(data: bytes, item: Item) -> list[int]:
    stream = b"".join(data[start:end] for start, end in item.places)
    return foreign_units(item.property_body(b"hvcC") or b"", stream)


def _tiles(file: HeifFile) -> set[int]:
    """Return the numbers of the items that are tiles of a grid."""
    return {number for item in file.items.values() for kind, ids in item.links if kind == b"dimg" for number in ids}


def _packed_profile(packed: bytes) -> list[str]:
    try:
        return profile_leftovers(zlib.decompressobj().decompress(packed, 16 << 20))
    except zlib.error:
        return ["colour profile that cannot be read"]


_PARSERS: dict[str, Callable[[bytes, MetadataMode], list[str]]] = {
    "JPEG": jpeg_leftovers, "PNG": _png, "WebP": _webp, "TIFF": _tiff, "BMP": _bmp, "GIF": _gif, "AVIF": _heif,
    "HEIC": _heif,
    "JPEG XL": _jxl,
}  # fmt: skip
