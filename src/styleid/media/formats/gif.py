"""Read still GIFs, and write them as GIFs.

A GIF has at most 256 colours. Colours that are used outside the new pixels keep their places in the palette, so that
pixels outside do not change. The other places are given to colours of the new pixels, chosen by median cut.
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Int, UInt8
from PIL import Image
from PIL.GifImagePlugin import GifImageFile

from styleid.media.containers.errors import BadFileError
from styleid.media.containers.gif import gif_blocks, gif_table_bytes
from styleid.media.formats.decoded import Decoded, check_size, trailing_note
from styleid.media.formats.kept import Kept
from styleid.media.formats.parse.exif import MetadataMode
from styleid.media.formats.raster import ColoursRGB, Layout, Palette, Raster, Samples, from_image, luma, to_image
from styleid.media.provenance import GIF_XMP, GIF_XMP_END
from styleid.types import ImageRGB, MaskArray

_CONTROL = "f9"


@dataclass(frozen=True)
class GifEncoding:
    """How a GIF was compressed; empty, since GIF has only one way."""


def decode(data: bytes, max_pixels: int) -> Decoded:
    """Decode a GIF of one picture.

    Args:
        data: The whole file.
        max_pixels: Limit for width * height.

    Raises:
        BadFileError: The file is damaged, too large or animated. Decoders may raise other errors, too.
    """
    blocks, end = gif_blocks(data)
    pictures = [i for i, b in enumerate(blocks) if b.kind == "picture"]
    if not pictures:
        raise BadFileError("the GIF holds no picture")
    if len(pictures) > 1:
        raise BadFileError(f"it is an animated GIF of {len(pictures)} pictures, and each would have to be checked. "
                      "Save its frames as single pictures")  # fmt: skip
    width, height = struct.unpack_from("<HH", data, 6)
    check_size(width, height, max_pixels)
    picture = blocks[pictures[0]].body
    left, top, columns, rows = struct.unpack_from("<HHHH", picture, 1)
    check_size(columns, rows, max_pixels)
    if left + columns > width or top + rows > height:
        raise BadFileError("the GIF is damaged: its picture reaches beyond its canvas")
    local = gif_table_bytes(picture[9])
    table = picture[10 : 10 + local] if local else data[13 : 13 + gif_table_bytes(data[10])]
    transparent = None
    controls = [b.body for b in blocks[: pictures[0]] if b.kind == _CONTROL]
    if controls and len(controls[-1]) >= 8 and controls[-1][3] & 1:
        transparent = controls[-1][6]
    raster = _on_canvas(_indices(picture, local, columns, rows), (left, top), (height, width), table, transparent)
    return Decoded(raster, Kept(), GifEncoding(), trailing_note(data, end))


def repaint(
    raster: Raster, old_rgb: ImageRGB, new_rgb: ImageRGB, mask: MaskArray, icc_profile: bytes | None = None
) -> Raster:
    """Return the raster with the pixels of new_rgb where mask is true, in at most 256 colours.

    Args:
        raster: The pixels; they must have a palette.
        old_rgb: uint8 (h, w, 3), the raster's view.
        new_rgb: uint8 (h, w, 3), the new pixels.
        mask: bool (h, w), where pixels may change; transparent pixels never do. All arrays are as stored.
        icc_profile: Not used.

    Raises:
        ValueError: The raster has no palette.
        BadFileError: All colours of the palette are transparent.
    """
    del icc_profile
    if raster.palette is None:
        raise ValueError("The raster of a GIF must have a palette.")
    changed = mask & (new_rgb != old_rgb).any(axis=2)
    alphas = np.full(256, 255, np.uint8)
    if raster.palette.alphas is not None:
        alphas[: len(raster.palette.alphas)] = raster.palette.alphas
        changed &= alphas[raster.samples] > 0
    if not changed.any():
        return raster
    colours = np.zeros((256, 3), np.uint8)
    colours[: len(raster.palette.colours)] = raster.palette.colours
    new = new_rgb[changed] if raster.span is None else raster.span.from_8_bits(new_rgb[changed], np.uint8)
    if (colours == colours[:, :1]).all():
        new = np.repeat(luma(new)[:, None], 3, axis=1)
    taken = np.zeros(256, bool)
    taken[np.unique(raster.samples[~changed])] = True
    taken[alphas == 0] = True
    free = np.flatnonzero(~taken)
    if len(free):
        chosen = _median_cut(new, len(free))
        free = free[: len(chosen)]
        colours[free] = chosen
        taken[free] = True
    usable = np.flatnonzero(taken & (alphas > 0))
    if not len(usable):
        raise BadFileError("its palette has no colour that is not transparent. Save it as PNG first")
    samples = raster.samples.copy()
    samples[changed] = usable[_nearest(new, colours[usable])]
    return replace(raster, samples=samples, bits=8, palette=Palette(colours, alphas if (alphas == 0).any() else None))


def encode(raster: Raster, kept: Kept, encoding: GifEncoding, metadata: MetadataMode) -> bytes:
    """Encode a raster with a palette.

    Args:
        raster: The pixels.
        kept: The metadata; a GIF can only hold the mark.
        encoding: Not used.
        metadata: Not used.

    Raises:
        ValueError: The raster has no palette.
    """
    del encoding, metadata
    if raster.palette is None:
        raise ValueError("The raster of a GIF must have a palette.")
    height, width = raster.size
    bits = max(1, (len(raster.palette.colours) - 1).bit_length())
    table = raster.palette.colours.tobytes().ljust(3 << bits, b"\0")
    control = b""
    if raster.palette.alphas is not None and (raster.palette.alphas == 0).any():
        control = b"!\xf9\x04\x01\0\0" + bytes([int(np.argmin(raster.palette.alphas))]) + b"\0"
    out = io.BytesIO()
    to_image(raster.samples, "L").save(out, "GIF", interlace=0, optimize=False)
    written = out.getvalue()
    picture = next(b.body for b in gif_blocks(written)[0] if b.kind == "picture")
    codes = picture[10 + gif_table_bytes(picture[9]) :]
    size = struct.pack("<HH", width, height)
    return (
        b"GIF89a"
        + size
        + bytes([0xF0 | (bits - 1), 0, 0])
        + table
        + (GIF_XMP + kept.mark + GIF_XMP_END if kept.mark else b"")
        + control
        + b",\0\0\0\0"
        + size
        + b"\0"
        + codes
        + b";"
    )


def _indices(picture: bytes, local: int, columns: int, rows: int) -> UInt8[np.ndarray, "rows columns"]:
    """Return the palette indices: without a palette in the file, Pillow reads them as grey."""
    size = struct.pack("<HH", columns, rows)
    descriptor = b",\0\0\0\0" + size + bytes([picture[9] & 0x40])
    image = GifImageFile(io.BytesIO(b"GIF89a" + size + bytes(3) + descriptor + picture[10 + local :] + b";"))
    found = from_image(image)
    image.close()
    return found


def _on_canvas(
    indices: Samples, corner: tuple[int, int], size: tuple[int, int], table: bytes, transparent: int | None
) -> Raster:
    """Place the picture on its canvas, which is transparent where the picture does not cover it."""
    left, top = corner
    whole = indices
    if indices.shape != size:
        if transparent is None:
            unused = np.setdiff1d(np.arange(256), indices)
            if not len(unused):
                raise BadFileError(
                    "the GIF's picture does not cover its canvas and no colour is free. Save it as PNG first"
                )
            transparent = int(unused[-1])
        whole = np.full(size, transparent, np.uint8)
        whole[top : top + indices.shape[0], left : left + indices.shape[1]] = indices
    count = max(len(table) // 3, int(whole.max()) + 1, (transparent or 0) + 1)
    colours = np.frombuffer(table.ljust(3 * count, b"\0"), np.uint8).reshape(-1, 3)
    alphas = None
    if transparent is not None:
        alphas = np.full(count, 255, np.uint8)
        alphas[transparent] = 0
    return Raster(whole, Layout.PALETTE, 8, Palette(colours, alphas))


def _median_cut(colours: ColoursRGB, count: int) -> ColoursRGB:
    """Return at most `count` colours that represent the given pixels; all of their colours if there are few enough."""
    distinct = np.unique(colours, axis=0)
    if len(distinct) <= count:
        return distinct
    reduced = to_image(colours[None], "RGB").quantize(count, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    return np.array(reduced.getpalette("RGB"), np.uint8).reshape(-1, 3)[:count]


def _nearest(colours: UInt8[np.ndarray, "n 3"], palette: ColoursRGB) -> Int[np.ndarray, " n"]:
    """Return for each pixel the index of the nearest palette colour."""
    distinct, inverse = np.unique(colours, axis=0, return_inverse=True)
    wide = palette.astype(np.int32)
    nearest = np.empty(len(distinct), np.int64)
    for top in range(0, len(distinct), 4096):
        gaps = distinct[top : top + 4096, None].astype(np.int32) - wide
        nearest[top : top + 4096] = (gaps * gaps).sum(axis=2).argmin(axis=1)
    return nearest[inverse.reshape(-1)]
