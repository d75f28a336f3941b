"""Write single-page TIFFs losslessly.

tifffile writes them, with the compressions of imagecodecs. It does not support samples of 2 or 4 bits, palettes of
fewer than 8 bits and a directory of exposure fields; such files are written here, with the compressions of Pillow
(libtiff).
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from styleid.media.containers.errors import BadFileError
from styleid.media.formats.ifd_writer import build_directory
from styleid.media.formats.kept import Kept
from styleid.media.formats.parse.allowed import (
    BITS,
    COLOUR_MAP,
    COMPRESSION,
    EXTRA,
    HEIGHT,
    ICC_TAG,
    PHOTOMETRIC,
    PREDICTOR,
    ROWS_PER_STRIP,
    SAMPLES,
    STRIP_COUNTS,
    STRIP_OFFSETS,
    WIDTH,
)
from styleid.media.formats.parse.exif import MetadataMode
from styleid.media.formats.parse.ifd import (
    BYTE,
    EXIF_POINTER,
    LONG,
    ORIENTATION,
    RATIONAL,
    RESOLUTION_UNIT,
    SHORT,
    UNDEFINED,
    X_RESOLUTION,
    Y_RESOLUTION,
    Field,
    TiffReader,
)
from styleid.media.formats.raster import ALPHA_LAYOUTS, Layout, Raster, Samples, to_image
from styleid.media.formats.tiff_rows import inverted, rows_of
from styleid.media.provenance import TIFF_XMP

_WRITTEN_CODES = {"raw": 1, "tiff_lzw": 5, "tiff_adobe_deflate": 8, "packbits": 32773, "lzma": 34925, "zstd": 50000}
_TIFFFILE_CODECS = {"raw": None, "tiff_lzw": "lzw", "tiff_adobe_deflate": "adobe_deflate", "packbits": "packbits",
                    "lzma": "lzma", "zstd": "zstd"}  # fmt: skip
_MOST_BYTES = (1 << 32) - (1 << 25)


@dataclass(frozen=True)
class TiffEncoding:
    """How a TIFF stored its pixels.

    Attributes:
        codec: Pillow's name of the compression.
        predictor: 1 for none, 2 for differences along rows.
        white_is_zero: Whether grey is stored inverted.
        extra: Meaning of the last channel: 0 unspecified, 1 premultiplied alpha, 2 alpha; None if there is no extra
            channel.
        colour_map: The palette as stored, 3 * 2**bits 16-bit values; empty if there is none.
    """

    codec: str
    predictor: int
    white_is_zero: bool
    extra: int | None
    colour_map: tuple[int, ...] = ()


def encode(raster: Raster, kept: Kept, encoding: TiffEncoding, metadata: MetadataMode) -> bytes:
    """Encode a raster losslessly at its own depth.

    Args:
        raster: The pixels.
        kept: The metadata to write.
        encoding: How the source stored its pixels.
        metadata: "strip" or "safe".

    Raises:
        BadFileError: The pixels need more than 4 GiB.
    """
    if raster.samples.nbytes > _MOST_BYTES:
        raise BadFileError("its pixels need more than the 4 GiB that a TIFF can hold. Split it into parts first")
    small = raster.bits in (2, 4) or (raster.palette is not None and raster.bits < 8)
    if small or (metadata == "safe" and kept.exposure):
        return _written_here(raster, kept, encoding, metadata)
    return _written_by_tifffile(raster, kept, encoding)


def _written_by_tifffile(raster: Raster, kept: Kept, encoding: TiffEncoding) -> bytes:
    import tifffile

    grey = raster.layout in (Layout.GREY, Layout.GREY_ALPHA)
    samples = inverted(raster.samples, raster.bits) if encoding.white_is_zero and grey else raster.samples
    photometric = {Layout.PALETTE: "palette", Layout.CMYK: "separated"}.get(raster.layout, "rgb")
    if grey:
        photometric = "miniswhite" if encoding.white_is_zero else "minisblack"
    options: dict[str, Any] = {}
    if raster.layout in ALPHA_LAYOUTS:
        options["extrasamples"] = [2 if encoding.extra is None else encoding.extra]
    if raster.palette is not None:
        options["colormap"] = np.array(encoding.colour_map, np.uint16).reshape(3, -1)
    if kept.density:
        options |= {"resolution": (kept.density.x, kept.density.y), "resolutionunit": kept.density.unit}
    tags: list[tuple[int, int, int, int | bytes, bool]] = []
    if kept.orientation != 1:
        tags.append((ORIENTATION, SHORT, 1, kept.orientation, True))
    if kept.mark:
        tags.append((TIFF_XMP, BYTE, len(kept.mark), kept.mark, True))
    out = io.BytesIO()
    with tifffile.TiffWriter(out, byteorder="<", bigtiff=False) as writer:
        writer.write(
            samples.astype(np.bool_) if raster.bits == 1 else samples,
            photometric=photometric,
            planarconfig="contig" if raster.layout.channels > 1 else None,
            compression=_TIFFFILE_CODECS[encoding.codec],
            predictor=encoding.predictor == 2 and _takes_predictor(raster, encoding),
            iccprofile=kept.icc_profile,
            extratags=tags,
            metadata=None,
            software=False,
            **options,
        )
    return out.getvalue()


def _takes_predictor(raster: Raster, encoding: TiffEncoding) -> bool:
    return raster.bits >= 8 and encoding.codec not in ("raw", "packbits")


def _written_here(raster: Raster, kept: Kept, encoding: TiffEncoding, metadata: MetadataMode) -> bytes:
    height, width = raster.size
    channels = raster.layout.channels
    samples = raster.samples
    grey = raster.layout in (Layout.GREY, Layout.GREY_ALPHA)
    if encoding.white_is_zero and grey:
        samples = inverted(samples, raster.bits)
    predictor = encoding.predictor if _takes_predictor(raster, encoding) else 1
    strips, rows = _strips(rows_of(samples, raster.bits, predictor), encoding.codec)
    photometric = {Layout.PALETTE: 3, Layout.CMYK: 5}.get(raster.layout, 2)
    if grey:
        photometric = 0 if encoding.white_is_zero else 1
    fields = [
        Field(WIDTH, LONG, (width,)),
        Field(HEIGHT, LONG, (height,)),
        Field(BITS, SHORT, (raster.bits,) * channels),
        Field(COMPRESSION, SHORT, (_WRITTEN_CODES[encoding.codec],)),
        Field(PHOTOMETRIC, SHORT, (photometric,)),
        Field(SAMPLES, SHORT, (channels,)),
        Field(ROWS_PER_STRIP, LONG, (rows,)),
        Field(STRIP_COUNTS, LONG, tuple(len(s) for s in strips)),
    ]
    if predictor != 1:
        fields.append(Field(PREDICTOR, SHORT, (predictor,)))
    if raster.layout in ALPHA_LAYOUTS:
        fields.append(Field(EXTRA, SHORT, (2 if encoding.extra is None else encoding.extra,)))
    if raster.palette is not None:
        fields.append(Field(COLOUR_MAP, SHORT, encoding.colour_map))
    if kept.orientation != 1:
        fields.append(Field(ORIENTATION, SHORT, (kept.orientation,)))
    if kept.density:
        fields += [Field(X_RESOLUTION, RATIONAL, _fraction(kept.density.x)),
                   Field(Y_RESOLUTION, RATIONAL, _fraction(kept.density.y)),
                   Field(RESOLUTION_UNIT, SHORT, (kept.density.unit,))]  # fmt: skip
    if kept.icc_profile:
        fields.append(Field(ICC_TAG, UNDEFINED, kept.icc_profile))
    if kept.mark:
        fields.append(Field(TIFF_XMP, BYTE, kept.mark))
    return _assembled(fields, strips, kept, metadata)


def _assembled(fields: list[Field], strips: list[bytes], kept: Kept, metadata: MetadataMode) -> bytes:
    """Return the file: header, strips, main directory and, in mode "safe", the exposure directory."""
    offsets: list[int] = []
    position = 8
    for strip in strips:
        offsets.append(position)
        position += len(strip) + (len(strip) & 1)
    if position + (1 << 24) > 0xFFFFFFFF:
        raise BadFileError("its pixels need more than the 4 GiB that a TIFF can hold. Save it with a compression first")
    fields = [*fields, Field(STRIP_OFFSETS, LONG, tuple(offsets))]
    exposure = kept.exposure if metadata == "safe" else ()
    if exposure:
        length = len(build_directory([*fields, Field(EXIF_POINTER, LONG, (0,))], position))
        fields.append(Field(EXIF_POINTER, LONG, (position + length,)))
    directory = build_directory(fields, position)
    behind = build_directory(exposure, position + len(directory)) if exposure else b""
    body = b"".join(s + b"\0" * (len(s) & 1) for s in strips)
    return b"II*\0" + struct.pack("<I", position) + body + directory + behind


def _strips(rows: Samples, codec: str) -> tuple[list[bytes], int]:
    """Compress rows of bytes; return the strips and the number of rows in each."""
    out = io.BytesIO()
    to_image(rows, "L").save(out, "TIFF", compression=codec)
    data = out.getvalue()
    written = TiffReader.open(data).chain()[0]
    places = zip(written.ints(STRIP_OFFSETS), written.ints(STRIP_COUNTS), strict=True)
    return [data[start : start + size] for start, size in places], written.integer(ROWS_PER_STRIP, len(rows))


def _fraction(value: float) -> tuple[int, int]:
    ratio = Fraction(value).limit_denominator(10000)
    return ratio.numerator, ratio.denominator
