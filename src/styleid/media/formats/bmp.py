"""Read Windows bitmaps of 1 to 32 bits, and write them losslessly.

Pillow reads run-length-coded bitmaps; all others are read here. Bitmaps of 16 bits are written with 24 bits and the
same colours. The fourth byte of 32-bit bitmaps is kept.
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt, UInt8
from PIL.BmpImagePlugin import BmpImageFile

from styleid.media.containers.errors import BadFileError, CutShortError
from styleid.media.formats.decoded import Decoded, check_size
from styleid.media.formats.kept import Kept
from styleid.media.formats.parse.exif import Density, MetadataMode
from styleid.media.formats.png import packed_rows, unpacked_rows
from styleid.media.formats.raster import ColoursRGB, Layout, Palette, Raster, from_image

_RAW, _RLE8, _RLE4, _FIELDS, _ALPHA_FIELDS = 0, 1, 2, 3, 6
_BGRA_MASKS = (0xFF0000, 0xFF00, 0xFF, 0xFF000000)


@dataclass(frozen=True)
class BmpEncoding:
    """How a BMP was stored. declared_alpha: whether its header says that the fourth byte is alpha."""

    declared_alpha: bool


@dataclass(frozen=True)
class _Header:
    size: int
    width: int
    height: int
    bits: int
    compression: int
    per_metre: tuple[int, int]
    colours: int
    masks: tuple[int, ...]
    top_down: bool
    pixels_at: int


def decode(data: bytes, max_pixels: int) -> Decoded:
    """Decode a BMP.

    Args:
        data: The whole file.
        max_pixels: Limit for width * height.

    Raises:
        BadFileError: The file is damaged, too large or of an unsupported kind. Pillow may raise other errors, too.
    """
    header = _header(data)
    check_size(header.width, header.height, max_pixels)
    notes: tuple[str, ...] = ()
    if header.compression in (_RLE8, _RLE4):
        raster = _run_length_coded(data, header)
    elif header.bits <= 8:
        raster = _with_palette(_rows(data, header), data, header)
    else:
        raster = _true_colour(data, header)
        if header.bits == 16:
            notes = ("16-bit colours were written with 24 bits",)
    if header.size == 124 and data[70:74] in (b"DEBM", b"KNIL"):
        notes = (*notes, "the colour profile of the BMP was left out")
    density = Density(header.per_metre[0] / 100, header.per_metre[1] / 100, 3) or None
    declared = header.compression in (_FIELDS, _ALPHA_FIELDS) and len(header.masks) == 4 and header.masks[3] > 0
    return Decoded(raster, Kept(density=density), BmpEncoding(declared), notes)


def encode(raster: Raster, kept: Kept, encoding: BmpEncoding, metadata: MetadataMode) -> bytes:
    """Encode a raster losslessly.

    Args:
        raster: The pixels.
        kept: The metadata; a BMP can only hold the pixel density.
        encoding: How the source stored its pixels.
        metadata: Not used: the density is written in both modes.

    Raises:
        BadFileError: The pixels need more than 4 GiB.
    """
    del metadata
    height, width = raster.size
    palette = b""
    if raster.layout in (Layout.PALETTE, Layout.GREY):
        bits, rows = raster.bits, raster.samples
        palette = _palette_bytes(raster)
        rows = packed_rows(rows, bits) if bits < 8 else rows
    else:
        bits = 8 * raster.layout.channels
        order = [2, 1, 0, 3] if bits == 32 else [2, 1, 0]
        rows = raster.samples[:, :, order].reshape(height, -1)
    rows = np.pad(rows[::-1], ((0, 0), (0, -rows.shape[1] % 4)))
    fields = bits == 32 and encoding.declared_alpha
    size = 108 if fields else 40
    per_metre = kept.density.per_metre() if kept.density else (0, 0)
    header = struct.pack("<IiiHHIIiiII", size, width, height, 1, bits, _FIELDS if fields else _RAW, rows.size,
                         *per_metre, len(palette) // 4, 0)  # fmt: skip
    if fields:
        header += struct.pack("<4I", *_BGRA_MASKS) + b"BGRs" + bytes(48)
    start = 14 + len(header) + len(palette)
    if start + rows.size > 0xFFFFFFFF:
        raise BadFileError("its pixels need more than the 4 GiB that a BMP can hold. Save it as PNG or TIFF first")
    return b"BM" + struct.pack("<IHHI", start + rows.size, 0, 0, start) + header + palette + rows.tobytes()


def _header(data: bytes) -> _Header:
    if len(data) < 26:
        raise CutShortError("the BMP header")
    pixels_at, size = struct.unpack_from("<II", data, 10)
    if size == 12:
        width, height, _, bits = struct.unpack_from("<HHHH", data, 18)
        return _checked(_Header(size, width, height, bits, _RAW, (0, 0), 0, (), False, pixels_at))
    if size not in (40, 52, 56, 64, 108, 124):
        raise BadFileError(f"it begins like a BMP, but its header of {size} bytes is of an unknown kind")
    if len(data) < 14 + size:
        raise CutShortError("the BMP header")
    width, height, _, bits, compression, _, x, y, colours = struct.unpack_from("<iiHHIIiiI", data, 18)
    masks: tuple[int, ...] = ()
    if compression in (_FIELDS, _ALPHA_FIELDS):
        count = 4 if size >= 56 or compression == _ALPHA_FIELDS else 3
        if len(data) < 54 + 4 * count:
            raise CutShortError("the BMP header")
        masks = struct.unpack_from(f"<{count}I", data, 54)
    return _checked(_Header(size, width, abs(height), bits, compression, (x, y), colours, masks, height < 0, pixels_at))


def _checked(header: _Header) -> _Header:
    depths = {_RAW: (1, 4, 8, 16, 24, 32), _RLE8: (8,), _RLE4: (4,), _FIELDS: (16, 32), _ALPHA_FIELDS: (16, 32)}
    if header.bits not in depths.get(header.compression, ()):
        raise BadFileError(
            f"it is a BMP of a kind that cannot be read ({header.bits} bits, compression {header.compression})"
        )
    return header


def _rows(data: bytes, header: _Header) -> UInt8[np.ndarray, "h stride"]:
    """Return the rows from top to bottom, with their padding."""
    stride = (header.width * header.bits + 31) // 32 * 4
    if header.pixels_at + stride * header.height > len(data):
        raise CutShortError("the BMP's pixels")
    rows = np.frombuffer(data, np.uint8, stride * header.height, header.pixels_at).reshape(header.height, stride)
    return rows if header.top_down else rows[::-1]


def _with_palette(rows: UInt8[np.ndarray, "h stride"], data: bytes, header: _Header) -> Raster:
    entry = 3 if header.size == 12 else 4
    start = 14 + header.size
    count = min(header.colours or 1 << header.bits, 1 << header.bits, max(0, header.pixels_at - start) // entry)
    if not count:
        raise BadFileError("the BMP is damaged: its palette is missing")
    table = np.frombuffer(data, np.uint8, count * entry, start).reshape(count, entry)
    colours = np.ascontiguousarray(table[:, 2::-1])
    indices = unpacked_rows(rows, header.bits, header.width) if header.bits < 8 else rows[:, : header.width]
    indices = np.ascontiguousarray(indices)
    if count == 1 << header.bits and (colours == _ramp(header.bits)).all():
        return Raster(indices, Layout.GREY, header.bits)
    return Raster(indices, Layout.PALETTE, header.bits, Palette(colours))


def _true_colour(data: bytes, header: _Header) -> Raster:
    rows = _rows(data, header)
    if header.bits == 24:
        return Raster(
            np.ascontiguousarray(rows[:, : 3 * header.width].reshape(header.height, -1, 3)[:, :, ::-1]), Layout.RGB
        )
    unit = np.dtype("<u2" if header.bits == 16 else "<u4")
    values = np.ascontiguousarray(rows).view(unit)[:, : header.width]
    masks = header.masks or ((0x7C00, 0x3E0, 0x1F) if header.bits == 16 else _BGRA_MASKS)
    if len(masks) == 4 and not masks[3]:
        masks = masks[:3]
    samples = np.dstack([_channel(values, m) for m in masks])
    return Raster(samples, Layout.RGB_ALPHA if len(masks) == 4 else Layout.RGB, known_as_alpha=bool(header.masks))


def _channel(values: UInt[np.ndarray, "h w"], mask: int) -> UInt8[np.ndarray, "h w"]:
    """Return the bits that a mask selects, scaled to 8 bits."""
    shift = (mask & -mask).bit_length() - 1
    top = mask >> shift if mask else 0
    if not mask or top & (top + 1) or top > 0xFFFF:
        raise BadFileError(f"the BMP is damaged: {mask:#x} is no colour mask")
    found = ((values & mask) >> shift).astype(np.uint32)
    return (found if top == 255 else (found * 255 + top // 2) // top).astype(np.uint8)


def _run_length_coded(data: bytes, header: _Header) -> Raster:
    image = BmpImageFile(io.BytesIO(data))
    if image.mode != "P":
        indices = from_image(image).astype(np.uint8)
        return Raster(indices, Layout.GREY) if image.mode == "L" else Raster(indices, Layout.GREY, 1)
    colours = np.array(image.getpalette("RGB"), np.uint8).reshape(-1, 3)[: 1 << header.bits]
    return Raster(from_image(image), Layout.PALETTE, header.bits, Palette(colours))


def _ramp(bits: int) -> ColoursRGB:
    top = (1 << bits) - 1
    return np.repeat(((np.arange(top + 1) * 255 + top // 2) // top).astype(np.uint8)[:, None], 3, axis=1)


def _palette_bytes(raster: Raster) -> bytes:
    colours = raster.palette.colours if raster.palette is not None else _ramp(raster.bits)
    return np.pad(colours[:, ::-1], ((0, 0), (0, 1))).tobytes()
