"""Read single-page TIFFs losslessly: 1 to 16 bits, grey, RGB, palette, CMYK, with and without alpha.

Most TIFF compressions work on bytes, not on pixels. For these, Pillow (libtiff) only decompresses: it gets a file with
one directory in which each row of each plane is declared as a row of 8-bit grey; predictor, byte order, planes and
depth are handled here. Fax and JPEG compression work on pixels; Pillow decodes such pictures, and they are written with
Deflate, which makes them larger but loses nothing more.

Not kept: planar storage and tiles (written as strips of interleaved pixels), big-endian order, BigTIFF.
"""

from __future__ import annotations

import contextlib
import io
import struct
import threading
from collections.abc import Generator
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from styleid.media.containers.errors import BadFileError, CutShortError
from styleid.media.formats.decoded import Decoded, check_size, kept_profile
from styleid.media.formats.ifd_writer import build_directory
from styleid.media.formats.kept import Kept
from styleid.media.formats.parse.allowed import (
    BITS,
    COLOUR_MAP,
    COMPRESSION,
    DNG_VERSION,
    EXTRA,
    FILL_ORDER,
    HEIGHT,
    ICC_TAG,
    JPEG_TABLES,
    PHOTOMETRIC,
    PIXEL_PLACES,
    PLANAR,
    PREDICTOR,
    ROWS_PER_STRIP,
    SAMPLE_FORMAT,
    SAMPLES,
    STRIP_COUNTS,
    STRIP_OFFSETS,
    SUBFILE,
    TILE_COUNTS,
    TILE_HEIGHT,
    TILE_OFFSETS,
    TILE_WIDTH,
    WIDTH,
)
from styleid.media.formats.parse.exif import read_facts
from styleid.media.formats.parse.ifd import (
    LONG,
    SHORT,
    Directory,
    Field,
    TiffReader,
)
from styleid.media.formats.raster import ALPHA_LAYOUTS, Layout, Palette, Raster, Samples, from_image
from styleid.media.formats.tiff_rows import inverted, samples_of
from styleid.media.formats.tiff_writer import TiffEncoding

_BYTE_CODECS = {1: "raw", 5: "tiff_lzw", 8: "tiff_adobe_deflate", 32773: "packbits", 32946: "tiff_adobe_deflate",
                34925: "lzma", 50000: "zstd"}  # fmt: skip
_PIXEL_CODECS = {2: "fax", 3: "fax", 4: "fax", 7: "JPEG"}
_PIXEL_TAGS = (FILL_ORDER, 292, 293, JPEG_TABLES, 530, 531, 532)
_PHOTOMETRIC_NAMES = {0: Layout.GREY, 1: Layout.GREY, 2: Layout.RGB, 3: Layout.PALETTE, 5: Layout.CMYK}
_DECODED_NAMES = {-1: Layout.GREY, **_PHOTOMETRIC_NAMES, 6: Layout.RGB}
_DECODED_LAYOUTS = {(Layout.GREY, 1, 0): Layout.GREY, (Layout.GREY, 2, 1): Layout.GREY_ALPHA,
                    (Layout.RGB, 3, 0): Layout.RGB, (Layout.RGB, 4, 1): Layout.RGB_ALPHA,
                    (Layout.CMYK, 4, 0): Layout.CMYK}  # fmt: skip
_LIMIT_LOCK = threading.Lock()


@dataclass(frozen=True)
class _Page:
    """How the page stores its pixels, as its tags say."""

    width: int
    height: int
    bits: int
    samples: int
    compression: int
    photometric: int
    planar: int
    predictor: int
    tile_width: int
    extra: tuple[int, ...]

    @property
    def layout(self) -> Layout:
        base = _PHOTOMETRIC_NAMES[self.photometric]
        if not self.extra:
            return base
        return Layout.GREY_ALPHA if base is Layout.GREY else Layout.RGB_ALPHA


def decode(data: bytes, max_pixels: int) -> Decoded:
    """Decode a single-page TIFF.

    Args:
        data: The whole file.
        max_pixels: Limit for width * height.

    Raises:
        BadFileError: The file is damaged, too large, of several pages or of an unsupported kind. Decoders may raise
            other errors, too.
    """
    reader = TiffReader.open(data)
    pages = reader.chain()
    if not pages:
        raise BadFileError("the TIFF is damaged: it holds no page")
    notes = _check_pages(pages, data)
    first = pages[0]
    page = _page(first)
    check_size(page.width, page.height, max_pixels)
    if TILE_OFFSETS in first.fields:
        check_size(page.tile_width, first.integer(TILE_HEIGHT, 0), max_pixels)
    if page.compression in _PIXEL_CODECS:
        raster, encoding = _decoded_pixels(data, reader, first, page)
        notes += (f"{_PIXEL_CODECS[page.compression]} compression was replaced by lossless Deflate",)
    else:
        raster, encoding = _decoded_bytes(data, reader, first, page)
    facts = read_facts(reader, first)
    profile_field = first.fields.get(ICC_TAG)
    found = profile_field.values if profile_field and isinstance(profile_field.values, bytes) else None
    profile, more = kept_profile(found, raster, facts)
    return Decoded(raster, Kept(facts.orientation, facts.density, profile, facts.exposure), encoding, (*notes, *more))


def _check_pages(pages: list[Directory], data: bytes) -> tuple[str, ...]:
    """Refuse raw files and files of several pictures; return a note if reduced copies are left out."""
    first = pages[0]
    if DNG_VERSION in first.fields or data[8:10] == b"CR" or first.integer(PHOTOMETRIC, 1) in (32803, 34892):
        raise BadFileError("it is a camera's raw file. Develop it to TIFF or JPEG first")
    if first.integer(SUBFILE, 0) & 1:
        raise BadFileError("its first page is a preview, as in a camera's raw file. Export the picture as TIFF first")
    if any(not p.integer(SUBFILE, 0) & 1 for p in pages[1:]):
        raise BadFileError(
            f"it is a TIFF of {len(pages)} pages, and each would have to be checked. Save them as single files"
        )
    return ("reduced copies of the picture were left out",) if len(pages) > 1 else ()


def _page(first: Directory) -> _Page:
    bits = first.ints(BITS, (1,)) or (1,)
    samples = first.integer(SAMPLES, 1)
    photometric = first.integer(PHOTOMETRIC, -1)
    compression = first.integer(COMPRESSION, 1)
    extra = first.ints(EXTRA)
    if not extra and photometric in (0, 1, 2) and samples == _PHOTOMETRIC_NAMES[photometric].channels + 1:
        extra = (0,)
    page = _Page(first.integer(WIDTH, 0), first.integer(HEIGHT, 0), bits[0], samples, compression, photometric,
                 first.integer(PLANAR, 1), first.integer(PREDICTOR, 1), first.integer(TILE_WIDTH, 0),
                 extra)  # fmt: skip
    if compression in _PIXEL_CODECS:
        return page
    problem = ""
    if compression not in _BYTE_CODECS:
        problem = f"its compression ({compression}) cannot be read"
    elif photometric not in _PHOTOMETRIC_NAMES:
        problem = f"its colour model ({photometric}) cannot be read"
    elif any(f != 1 for f in first.ints(SAMPLE_FORMAT)):
        problem = "it holds signed or floating-point numbers"
    elif any(b != bits[0] for b in bits) or bits[0] not in (1, 2, 4, 8, 16) or (bits[0] < 8 and samples > 1):
        problem = f"its depth ({', '.join(map(str, bits[:8]))} bits) cannot be read"
    elif len(extra) > 1 or samples != _PHOTOMETRIC_NAMES[photometric].channels + len(extra):
        problem = f"its {samples} channels ({len(extra)} of them extra) cannot be kept"
    elif extra and page.layout.channels != samples:
        problem = "it has an extra channel that cannot be kept"
    elif (photometric == 3 and bits[0] == 16) or page.planar not in (1, 2) or page.predictor not in (1, 2):
        problem = "the way it stores pixels cannot be read"
    if problem:
        raise BadFileError(f"it is a TIFF, but {problem}. Save it with 8 or 16 bits, grey, RGB or CMYK, first")
    return page


def _decoded_bytes(data: bytes, reader: TiffReader, first: Directory, page: _Page) -> tuple[Raster, TiffEncoding]:
    planes = page.samples if page.planar == 2 else 1
    per_pixel = page.samples // planes
    row_bytes = (page.width * per_pixel * page.bits + 7) // 8
    parts: list[Samples] = []
    for plane in range(planes):
        fields = _byte_fields(first, page, plane, planes, row_bytes)
        rows = _pillow(data, fields).reshape(page.height, row_bytes)
        parts.append(
            samples_of(
                rows, page.width, page.bits, per_pixel, reader.order, page.predictor, page.tile_width or page.width
            )
        )
    samples = parts[0] if planes == 1 else np.dstack(parts)
    if page.photometric == 0:
        samples = inverted(samples, page.bits)
    palette, colour_map = None, ()
    if page.layout is Layout.PALETTE:
        colour_map = first.ints(COLOUR_MAP)
        if len(colour_map) != 3 << page.bits:
            raise BadFileError("the TIFF is damaged: its palette has a wrong length")
        palette = Palette((np.array(colour_map, np.uint16).reshape(3, -1).T >> 8).astype(np.uint8))
    raster = Raster(samples, page.layout, page.bits, palette, None, page.extra == (1,), page.extra != (0,))
    encoding = TiffEncoding(_BYTE_CODECS[page.compression], page.predictor, page.photometric == 0,
                            page.extra[0] if page.extra else None, colour_map)  # fmt: skip
    return raster, encoding


def _byte_fields(first: Directory, page: _Page, plane: int, planes: int, row_bytes: int) -> list[Field]:
    """Return a directory that declares one plane as an 8-bit grey picture of its bytes."""
    fields = [
        Field(WIDTH, LONG, (row_bytes,)),
        Field(HEIGHT, LONG, (page.height,)),
        Field(BITS, SHORT, (8,)),
        Field(COMPRESSION, SHORT, (page.compression,)),
        Field(PHOTOMETRIC, SHORT, (1,)),
        Field(SAMPLES, SHORT, (1,)),
    ]
    if (order := first.integer(FILL_ORDER, 1)) != 1:
        fields.append(Field(FILL_ORDER, SHORT, (order,)))
    tiled = TILE_OFFSETS in first.fields
    if tiled:
        bits = first.integer(TILE_WIDTH, 0) * page.samples // planes * page.bits
        fields += [Field(TILE_WIDTH, LONG, (bits // 8,)), Field(TILE_HEIGHT, LONG, (first.integer(TILE_HEIGHT, 0),))]
    else:
        rows = min(first.integer(ROWS_PER_STRIP, page.height), page.height)
        fields.append(Field(ROWS_PER_STRIP, LONG, (rows,)))
    names = (TILE_OFFSETS, TILE_COUNTS) if tiled else (STRIP_OFFSETS, STRIP_COUNTS)
    for name in names:
        whole = first.ints(name)
        if name == STRIP_COUNTS and not whole:
            whole = (row_bytes * page.height,)
        share = len(whole) // planes
        fields.append(Field(name, LONG, whole[plane * share : (plane + 1) * share]))
    return fields


def _decoded_pixels(data: bytes, reader: TiffReader, first: Directory, page: _Page) -> tuple[Raster, TiffEncoding]:
    structure = (
        WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, SAMPLES, EXTRA, PLANAR, ROWS_PER_STRIP, TILE_WIDTH,
        TILE_HEIGHT, STRIP_OFFSETS, STRIP_COUNTS, TILE_OFFSETS, TILE_COUNTS, *_PIXEL_TAGS,
    )  # fmt: skip
    fields = [
        replace(f, kind=LONG if f.kind in (13, 16, 18) else f.kind) for t, f in first.fields.items() if t in structure
    ]
    layout = _pixel_layout(page)
    found = _pillow(data, fields, reader.order)
    bits, found = (1, found.astype(np.uint8)) if found.dtype == bool else (8, found)
    extra = page.extra[0] if layout in ALPHA_LAYOUTS else None
    raster = Raster(found, layout, bits, None, None, extra == 1, extra != 0)
    return raster, TiffEncoding("tiff_adobe_deflate", 2, False, extra)


def _pixel_layout(page: _Page) -> Layout:
    """Return the layout of a page with fax or JPEG compression."""
    base = _DECODED_NAMES.get(page.photometric)
    if base is not None and (layout := _DECODED_LAYOUTS.get((base, page.samples, len(page.extra)))):
        return layout
    name = base or f"kind {page.photometric}"
    raise BadFileError(f"it is a TIFF with {_PIXEL_CODECS[page.compression]} compression whose {page.samples} channels "
                       f"({len(page.extra)} of them extra, colours: {name}) cannot be kept. Save it with Deflate "
                       "compression first")  # fmt: skip


def _pillow(data: bytes, fields: list[Field], order: str = "<") -> Samples:
    """Decode the page that a directory describes; the directory is appended to the data for Pillow."""
    for offsets, counts in PIXEL_PLACES:
        pair = {f.tag: f.values for f in fields if f.tag in (offsets, counts)}
        for start, size in zip(pair.get(offsets, ()), pair.get(counts, ()), strict=False):
            if start + size > len(data):
                raise CutShortError("the TIFF's pixels")
    at = len(data) + (len(data) & 1)
    if at > 0xFFFFFFFF - (1 << 24):
        raise BadFileError("it is a TIFF of more than 4 GiB")
    # libtiff reads 16-bit values of the pixel stream in the file's order, but there are none: bytes or codes only.
    bare = b"II*\0" + struct.pack("<I", at) + data[8:] + bytes(len(data) & 1) + build_directory(fields, at)
    with _limit_lifted():
        image = TiffImageFile(io.BytesIO(bare))
        found = from_image(image)
        image.close()
    return found


@contextlib.contextmanager
def _limit_lifted() -> Generator[None, None, None]:
    """Suspend Pillow's limit of pixels, which would count bytes here; `check_size` has already checked the page."""
    with _LIMIT_LOCK:
        before = Image.MAX_IMAGE_PIXELS
        Image.MAX_IMAGE_PIXELS = None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = before
