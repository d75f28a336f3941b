"""Read HEIC, and write it with the depth, quality, subsampling, tiles and colour code points of the source.

pillow-heif (extra `heif`) decodes and encodes. Its encoder gets only pixels, so that no other picture, thumbnail, depth
map or gain map of the source is written again. Rotation and mirroring are properties (irot, imir); decoders apply them,
this is undone, and they are written again. The orientation in EXIF has no effect in HEIC (ISO/IEC 23008-12).
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from styleid.errors import MissingDependencyError
from styleid.media.containers.errors import BadFileError, check_tail
from styleid.media.formats.decoded import Decoded, MovingPart, check_size, kept_profile
from styleid.media.formats.heif_video import read_moving, with_video, xmp_packet
from styleid.media.formats.kept import Kept
from styleid.media.formats.parse.exif import PREFIX, ExifFacts, MetadataMode, read_exif
from styleid.media.formats.parse.heif_motion import picture_end
from styleid.media.formats.parse.hevc import StillCoding, still_coding
from styleid.media.formats.parse.isobmff import (
    HeifFile,
    Item,
    colour_points,
    orientation_of,
    read_heif,
)
from styleid.media.formats.raster import Layout, Raster, Samples, stored

_DEFAULT_QUALITY, _LOSSLESS = 80, -1
_CHROMAS = {0: 420, 1: 420, 2: 422, 3: 444}
_LAYOUTS = {"L": Layout.GREY, "I": Layout.GREY, "RGB": Layout.RGB, "RGBA": Layout.RGB_ALPHA, "RGBa": Layout.RGB_ALPHA}
_MOST_SIDE_PX, _TILE_PX, _BLOCK_PX = 8192, 512, 64
_PICTURES = (b"hvc1", b"grid", b"iden")


@dataclass(frozen=True)
class HeicEncoding:
    """How a HEIC was compressed.

    Attributes:
        coding: Quantiser and whether it is lossless, None if this cannot be read.
        bits: Depth of a sample: 8, 10 or 12.
        chroma: 420, 422 or 444.
        points: Primaries, transfer, matrix and whether the range is full, from the nclx property; None if it has none.
        tile_px: Side of a tile, 0 if the picture is not tiled.
        moving: The video to write after the picture, if any; never the source's video.
    """

    coding: StillCoding | None
    bits: int
    chroma: int
    points: tuple[int, int, int, bool] | None
    tile_px: int
    moving: MovingPart | None = None


def decode(data: bytes, max_pixels: int) -> Decoded:
    """Decode the primary picture of a HEIC, and find the video of a motion photo.

    Args:
        data: The whole file.
        max_pixels: Limit for width * height.

    Raises:
        BadFileError: The file is damaged, too large, a sequence or of an unsupported kind. pillow-heif may raise other
            errors, too.
        MissingDependencyError: pillow-heif is not installed.
    """
    still = data[: picture_end(data)]
    file = read_heif(still)
    _check(file, still)
    coded = file.picture()
    found = _pillow_heif().open_heif(still, convert_hdr_to_8bit=False)
    _check_sizes(found.size, (file.items[file.primary], coded), max_pixels)
    orientation = orientation_of(file.items[file.primary])
    mode = str(found.mode).partition(";")[0]
    samples: Samples = stored(np.array(found), orientation)
    deep = samples.dtype == np.uint16
    raster = Raster(samples, _LAYOUTS[mode], 16 if deep else 8, premultiplied=mode == "RGBa")
    exif = found.info.get("exif")
    facts = read_exif(exif) if exif else ExifFacts()
    profile, notes = kept_profile(found.info.get("icc_profile"), raster, facts)
    encoding = HeicEncoding(
        _coding(still, coded), int(found.info["bit_depth"]), _chroma(coded), _points(file, coded), _tile_px(file, coded)
    )
    moving, further = read_moving(data, len(still), file)
    notes += _notes(file, further)
    return Decoded(raster, Kept(orientation, None, profile, facts.exposure), encoding, notes, moving)


def encode(raster: Raster, kept: Kept, encoding: HeicEncoding, metadata: MetadataMode) -> bytes:
    """Encode a raster like the source.

    Args:
        raster: The pixels.
        kept: The metadata to write.
        encoding: How the source was compressed.
        metadata: "strip" or "safe".

    Raises:
        MissingDependencyError: pillow-heif is not installed.
    """
    heif, height, width = _pillow_heif(), *raster.size
    colours = {Layout.GREY: "L", Layout.RGB: "RGB"}.get(raster.layout, "RGBa" if raster.premultiplied else "RGBA")
    file = heif.HeifFile()
    file.add_frombytes(colours + (";16" if raster.bits == 16 else ""), (width, height), raster.samples.tobytes())
    options = _colour_options(encoding)
    if raster.bits == 16:
        options["bit_depth"] = encoding.bits
    if exif := kept.exif(metadata):
        options["exif"] = PREFIX + exif
    if kept.icc_profile:
        options |= {"icc_profile": kept.icc_profile, "icc_profile_type": "prof"}
    if packet := xmp_packet(kept, encoding.moving, "image/heic"):
        options["xmp"] = packet
    out = io.BytesIO()
    file.save(
        out,
        quality=_quality(encoding.coding),
        chroma=encoding.chroma,
        tile_size=encoding.tile_px or (_TILE_PX if max(height, width) > _MOST_SIDE_PX else 0),
        enc_params={"preset": "medium"},
        **options,
    )
    return with_video(out.getvalue(), encoding.moving)


def _pillow_heif() -> Any:
    try:
        import pillow_heif
    except ImportError as error:
        raise MissingDependencyError("pillow-heif, which reads and writes HEIC,", "'styleid[heif]'") from error
    return pillow_heif


def _check(file: HeifFile, data: bytes) -> None:
    """Refuse files that are no still picture in H.265 or are truncated."""
    if any(box.kind == b"moov" for box in file.boxes):
        raise BadFileError("it is a HEIC sequence, and each of its pictures would have to be checked. Save them as "
                           "single pictures")  # fmt: skip
    primary, coded = file.items.get(file.primary, Item()), file.picture()
    if coded.kind != b"hvc1" or primary.kind not in _PICTURES:
        kind = coded.kind.decode("latin-1")
        raise BadFileError(f"it is a HEIF picture of a kind that cannot be read ({kind!r}). Convert it to JPEG first")
    tiles = [file.items.get(number, Item()) for kind, ids in primary.links if kind == b"dimg" for number in ids]
    for start, end in (place for item in (primary, *tiles) for place in item.places):
        check_tail(data[start:end])


def _check_sizes(shown: tuple[int, int], items: tuple[Item, Item], max_pixels: int) -> None:
    """Refuse pictures that are too large; they may be coded larger than they are shown, in whole blocks."""
    check_size(*shown, max_pixels)
    most = max(max_pixels, (shown[0] + _BLOCK_PX) * (shown[1] + _BLOCK_PX))
    for body in (item.property_body(b"ispe") for item in items):
        if body and len(body) >= 12:
            check_size(*struct.unpack_from(">II", body, 4), most)


def _coding(data: bytes, coded: Item) -> StillCoding | None:
    config = coded.property_body(b"hvcC") or b""
    return still_coding(config, b"".join(data[start:end] for start, end in coded.places))


def _chroma(coded: Item) -> int:
    config = coded.property_body(b"hvcC") or b""
    return _CHROMAS[config[16] & 3] if len(config) > 16 else 420


def _points(file: HeifFile, coded: Item) -> tuple[int, int, int, bool] | None:
    return colour_points(file.items[file.primary]) or colour_points(coded)


def _tile_px(file: HeifFile, coded: Item) -> int:
    if file.items[file.primary].kind != b"grid":
        return 0
    body = coded.property_body(b"ispe") or b""
    return max(64, *struct.unpack_from(">II", body, 4)) if len(body) >= 12 else _TILE_PX


def _colour_options(encoding: HeicEncoding) -> dict[str, Any]:
    if encoding.points is None:
        return {}
    primaries, transfer, matrix, full = encoding.points
    return {"color_primaries": primaries, "transfer_characteristics": transfer, "transfer_characteristic": transfer,
            "matrix_coefficients": matrix, "full_range_flag": int(full)}  # fmt: skip


def _quality(coding: StillCoding | None) -> int:
    """Return the quality at which the installed encoder uses the quantiser nearest to the given one."""
    if coding is None:
        return _DEFAULT_QUALITY
    if coding.lossless:
        return _LOSSLESS
    table = _quantisers()
    return min(table, key=lambda quality: (abs(table[quality] - coding.quantiser), -quality))


@lru_cache(maxsize=1)
def _quantisers() -> dict[int, int]:
    """Return the encoder's quantiser for each quality. It may differ between versions, but not between pictures."""
    found: dict[int, int] = {}
    for quality in range(0, 101, 2):
        out, file = io.BytesIO(), _pillow_heif().HeifFile()
        file.add_frombytes("RGB", (16, 16), bytes(3 * 16 * 16))
        file.save(out, quality=quality, enc_params={"preset": "ultrafast"})
        data = out.getvalue()
        coding = _coding(data, read_heif(data).picture())
        found[quality] = (94 - quality) // 2 if coding is None else coding.quantiser
    return found


def _notes(file: HeifFile, further: set[str]) -> tuple[str, ...]:
    """Return a note on parts that are left out; `further` names those that are no items."""
    primary = file.items[file.primary]
    used = {file.primary} | {number for kind, ids in primary.links if kind == b"dimg" for number in ids}
    for number, item in file.items.items():
        links = {kind for kind, _ in item.links}
        auxiliary = (item.property_body(b"auxC") or b"")[4:].split(b"\0")[0].decode("latin-1")
        if b"thmb" in links:
            further.add("a thumbnail")
        elif b"auxl" in links and not auxiliary.endswith((":alpha", ":auxid:1")):
            further.add(f"an auxiliary picture ({auxiliary[:80]})")
        elif item.kind not in (b"Exif", b"mime", b"") and number not in used and b"auxl" not in links:
            further.add("a further picture" if item.kind in _PICTURES else repr(item.kind.decode("latin-1")))
    return ("further parts of the file were left out: " + ", ".join(sorted(further)),) if further else ()
