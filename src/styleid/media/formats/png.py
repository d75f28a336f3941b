"""Read and write PNGs of every depth: 1 to 16 bits, grey, RGB, palette, with and without alpha.

Pillow and OpenCV only decompress and filter the pixels; chunks are read and written here. They get pictures without
metadata that have as many bytes per pixel as the file: 16-bit grey is passed to Pillow as 8-bit grey with alpha, 16-bit
grey with alpha as 8-bit RGBA. Pillow cannot hold 16-bit RGB, so OpenCV decodes it. OpenCV does not notice a truncated
stream, so the length of the stream is checked before. Interlaced files are written without interlacing.
"""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import UInt8
from PIL import Image
from PIL.PngImagePlugin import PngImageFile

from styleid.media.containers.chunk import Chunk
from styleid.media.containers.errors import BadFileError, CutShortError
from styleid.media.containers.png import PNG_SIGNATURE, png_chunk, png_chunks
from styleid.media.formats.decoded import Decoded, check_size, kept_profile, trailing_note
from styleid.media.formats.kept import Kept
from styleid.media.formats.parse.allowed import COLOUR_CHUNKS, PROFILE_NAME
from styleid.media.formats.parse.exif import Density, ExifFacts, MetadataMode, read_exif
from styleid.media.formats.raster import Layout, Palette, Raster, Samples, from_image, swap_red_and_blue, to_image
from styleid.media.provenance import PNG_XMP

_LAYOUTS = {0: Layout.GREY, 2: Layout.RGB, 3: Layout.PALETTE, 4: Layout.GREY_ALPHA, 6: Layout.RGB_ALPHA}
_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_LEVELS = {0: 4, 1: 5, 2: 6, 3: 9}
_LARGE_PIXELS = 2_000_000
_CRITICAL = (b"IHDR", b"PLTE", b"IDAT", b"IEND")
_READ = (*_CRITICAL, b"tRNS", b"iCCP", b"eXIf", b"pHYs", *COLOUR_CHUNKS)
_MAX_PROFILE_BYTES = 16 << 20


@dataclass(frozen=True)
class PngEncoding:
    """How a PNG was compressed: zlib's level, 0 to 9, and the chunks of `COLOUR_CHUNKS` as (kind, body)."""

    level: int
    colour_chunks: tuple[tuple[bytes, bytes], ...]


@dataclass(frozen=True)
class _Header:
    width: int
    height: int
    bits: int
    colour: int
    interlaced: bool

    @property
    def layout(self) -> Layout:
        return _LAYOUTS[self.colour]

    def packed(self) -> bytes:
        """Return the IHDR chunk."""
        return png_chunk(b"IHDR", struct.pack(">IIBBBBB", self.width, self.height, self.bits, self.colour, 0, 0,
                                              self.interlaced))  # fmt: skip

    def inflated_bytes(self) -> int:
        """Return the length of the decompressed pixel stream in bytes."""
        per_pixel = self.layout.channels * self.bits
        passes = [(0, 0, 1, 1)]
        if self.interlaced:
            passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
        total = 0
        for x0, y0, dx, dy in passes:
            columns, rows = -(-(self.width - x0) // dx), -(-(self.height - y0) // dy)
            if columns > 0 and rows > 0:
                total += rows * (1 + (columns * per_pixel + 7) // 8)
        return total


def decode(data: bytes, max_pixels: int) -> Decoded:
    """Decode a PNG.

    Args:
        data: The whole file.
        max_pixels: Limit for width * height.

    Raises:
        BadFileError: The file is damaged, too large or animated. Decoders may raise other errors, too.
    """
    chunks, end = png_chunks(data)
    header = _header(chunks)
    check_size(header.width, header.height, max_pixels)
    animated = _check_still(chunks, header)
    unsound = next((c.kind.decode() for c in chunks if c.kind in _READ and not c.sound), None)
    if unsound:
        raise BadFileError(f"the PNG is damaged: its {unsound} chunk has a wrong checksum")
    first = {c.kind: c.body for c in reversed(chunks) if c.kind != b"IDAT"}
    pixels = [c for c in chunks if c.kind == b"IDAT"]
    if sum(map(len, pixels)) < 2:
        raise BadFileError("the PNG is damaged: it holds no pixels")
    raster = _raster(header, first, pixels)
    facts = read_exif(first[b"eXIf"]) if b"eXIf" in first else ExifFacts()
    profile, notes = kept_profile(_profile(first.get(b"iCCP")), raster, facts)
    notes = (*animated, *notes)
    density = _density(first.get(b"pHYs", b"")) or facts.density
    start = b"".join(c.body for c in pixels[:2])
    level = _LEVELS[start[1] >> 6] if len(start) > 1 else 6
    if header.width * header.height > _LARGE_PIXELS:
        level = min(level, 7)
    colours = tuple((k, first[k]) for k, size in COLOUR_CHUNKS.items() if len(first.get(k, b"")) == size)
    kept = Kept(facts.orientation, density, profile, facts.exposure)
    return Decoded(raster, kept, PngEncoding(level, colours), (*notes, *trailing_note(data, end)))


def encode(raster: Raster, kept: Kept, encoding: PngEncoding, metadata: MetadataMode) -> bytes:
    """Encode a raster losslessly at its own depth.

    Args:
        raster: The pixels.
        kept: The metadata to write.
        encoding: How the source was compressed.
        metadata: "strip" or "safe".
    """
    height, width = raster.size
    colour = next(code for code, layout in _LAYOUTS.items() if layout is raster.layout)
    parts = [PNG_SIGNATURE, _Header(width, height, raster.bits, colour, False).packed()]
    parts += [png_chunk(kind, body) for kind, body in encoding.colour_chunks if kind != b"sRGB" or not kept.icc_profile]
    if kept.icc_profile:
        parts.append(png_chunk(b"iCCP", PROFILE_NAME + b"\0\0" + zlib.compress(kept.icc_profile, 9)))
    if raster.palette is not None:
        parts.append(png_chunk(b"PLTE", raster.palette.colours.tobytes()))
        if raster.palette.alphas is not None:
            parts.append(png_chunk(b"tRNS", raster.palette.alphas.tobytes()))
    if raster.key is not None:
        parts.append(png_chunk(b"tRNS", struct.pack(f">{len(raster.key)}H", *raster.key)))
    if kept.density:
        per_metre = kept.density.unit != 1
        x, y = kept.density.per_metre() if per_metre else (round(kept.density.x), round(kept.density.y))
        parts.append(png_chunk(b"pHYs", struct.pack(">IIB", x, y, per_metre)))
    if exif := kept.exif(metadata):
        parts.append(png_chunk(b"eXIf", exif))
    if kept.mark:
        parts.append(png_chunk(b"iTXt", PNG_XMP + kept.mark))
    parts += [png_chunk(b"IDAT", _deflated(raster, encoding.level)), png_chunk(b"IEND", b"")]
    return b"".join(parts)


def packed_rows(samples: UInt8[np.ndarray, "h w"], bits: int) -> UInt8[np.ndarray, "h bytes"]:
    """Pack samples of 1, 2 or 4 bits into bytes, the first pixel in the highest bits."""
    per_byte = 8 // bits
    padded = np.pad(samples, ((0, 0), (0, -samples.shape[1] % per_byte)))
    groups = padded.reshape(len(samples), -1, per_byte)
    packed = np.zeros(groups.shape[:2], np.uint8)
    for index in range(per_byte):
        packed |= groups[:, :, index] << (8 - bits * (index + 1))
    return packed


def unpacked_rows(rows: UInt8[np.ndarray, "h bytes"], bits: int, width: int) -> UInt8[np.ndarray, "h w"]:
    """Unpack bytes into samples of 1, 2 or 4 bits; the inverse of `packed_rows`."""
    shifts = np.arange(8 - bits, -1, -bits, dtype=np.uint8)
    return ((rows[:, :, None] >> shifts) & ((1 << bits) - 1)).reshape(len(rows), -1)[:, :width]


def _header(chunks: list[Chunk]) -> _Header:
    if not chunks or chunks[0].kind != b"IHDR" or len(chunks[0].body) != 13:
        apple = chunks and chunks[0].kind == b"CgBI"
        raise BadFileError("it is a PNG for iPhone apps (CgBI). Convert it to a normal PNG first" if apple
                      else "the PNG is damaged: it does not begin with its header")  # fmt: skip
    width, height, bits, colour, method, filters, interlaced = struct.unpack(">IIBBBBB", chunks[0].body)
    if bits not in _DEPTHS.get(colour, ()) or method or filters or interlaced > 1:
        raise BadFileError("the PNG is damaged: its header states a depth or colour type that does not exist")
    return _Header(width, height, bits, colour, bool(interlaced))


def _check_still(chunks: list[Chunk], header: _Header) -> tuple[str, ...]:
    """Refuse animations; one whose only frame is the picture itself is accepted with a note."""
    kinds = [c.kind for c in chunks]
    if b"acTL" not in kinds and b"fcTL" not in kinds and b"fdAT" not in kinds:
        return ()
    frames = [c for c in chunks if c.kind == b"fcTL"]
    whole = struct.pack(">IIII", header.width, header.height, 0, 0)
    alone = len(frames) == 1 and b"fdAT" not in kinds and b"IDAT" in kinds
    if alone and kinds.index(b"fcTL") < kinds.index(b"IDAT") and frames[0].body[4:20] == whole:
        return ("an animation of one frame was written as a still picture",)
    raise BadFileError("it is an animated PNG, and each frame would have to be checked. Save its frames as single "
                       "pictures")  # fmt: skip


def _raster(header: _Header, first: dict[bytes, bytes], pixels: list[Chunk]) -> Raster:
    transparency = first.get(b"tRNS")
    palette, key = None, None
    if header.layout is Layout.PALETTE:
        colours = first.get(b"PLTE", b"")
        if not colours or len(colours) % 3 or len(colours) > 768:
            raise BadFileError("the PNG is damaged: its palette is missing or of a wrong length")
        alphas = np.frombuffer(transparency[: len(colours) // 3], np.uint8) if transparency else None
        palette = Palette(np.frombuffer(colours, np.uint8).reshape(-1, 3), alphas)
    elif transparency and len(transparency) == 2 * header.layout.channels:
        key = tuple(v & ((1 << header.bits) - 1) for v in struct.unpack(f">{header.layout.channels}H", transparency))
    return Raster(_samples(header, first, pixels), header.layout, header.bits, palette, key)


def _samples(header: _Header, first: dict[bytes, bytes], pixels: list[Chunk]) -> Samples:
    wide_colour = header.bits == 16 and header.layout in (Layout.RGB, Layout.RGB_ALPHA)
    disguised = header
    if header.bits == 16 and not wide_colour:
        twin = 4 if header.layout is Layout.GREY else 6
        disguised = _Header(header.width, header.height, 8, twin, header.interlaced)
    pieces = [PNG_SIGNATURE, disguised.packed()]
    if header.layout is Layout.PALETTE:
        pieces.append(png_chunk(b"PLTE", first[b"PLTE"]))
    pieces += [memoryview(c.source)[c.start - 8 : c.end + 4] for c in pixels]
    bare = b"".join([*pieces, png_chunk(b"IEND", b"")])
    if wide_colour:
        _check_inflates(pixels, header.inflated_bytes())
        found = cv2.imdecode(np.frombuffer(bare, np.uint8), cv2.IMREAD_UNCHANGED)
        expected = (header.height, header.width, header.layout.channels)
        if found is None or found.shape != expected or found.dtype != np.uint16:
            raise BadFileError("the PNG's pixels cannot be decoded")
        return swap_red_and_blue(found)
    image = PngImageFile(io.BytesIO(bare))
    found = from_image(image)
    image.close()
    if header.bits == 16:
        wide = found.view(">u2").astype(np.uint16)
        return wide[:, :, 0] if header.layout is Layout.GREY else wide
    if header.layout is Layout.GREY and header.bits < 8:
        return found.astype(np.uint8) if found.dtype == bool else found // np.uint8(255 // ((1 << header.bits) - 1))
    return found


def _check_inflates(pixels: list[Chunk], expected: int) -> None:
    """Raise an error if the pixel stream is damaged or shorter than expected; zlib verifies its checksum."""
    stream, total = zlib.decompressobj(), 0
    try:
        for chunk in pixels:
            for start in range(chunk.start, chunk.end, 1 << 16):
                if total <= expected:
                    total += len(stream.decompress(chunk.source[start : min(start + (1 << 16), chunk.end)]))
    except zlib.error as error:
        raise BadFileError(f"the PNG is damaged: its pixels cannot be decompressed ({error})") from error
    if total < expected:
        raise CutShortError("the PNG's pixels")


def _deflated(raster: Raster, level: int) -> bytes:
    """Return a raster's rows, filtered and compressed by zlib."""
    samples = raster.samples
    if raster.bits == 16 and raster.layout.channels >= 3:
        bgr = swap_red_and_blue(samples.copy())
        done, found = cv2.imencode(".png", bgr, [cv2.IMWRITE_PNG_COMPRESSION, level])
        if not done:
            raise MemoryError("the PNG encoder returned nothing")
        encoded = found.tobytes()
    else:
        mode = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[raster.layout.channels]
        if raster.bits < 8:
            samples = packed_rows(samples, raster.bits)
        elif raster.bits == 16:
            mode = "LA" if raster.layout is Layout.GREY else "RGBA"
            samples = samples.astype(">u2").view(np.uint8).reshape(*raster.size, -1)
        image = to_image(samples, mode)
        if raster.bits < 8 or raster.palette is not None:
            image = _as_palette(image)
        out = io.BytesIO()
        image.save(out, "PNG", compress_level=level)
        encoded = out.getvalue()
    return b"".join(c.body for c in png_chunks(encoded)[0] if c.kind == b"IDAT")


def _as_palette(image: Image.Image) -> Image.Image:
    """Return the bytes as palette indices, which encoders leave unfiltered: filters only hurt them."""
    image = Image.frombuffer("P", image.size, image.tobytes(), "raw", "P", 0, 1)
    image.putpalette(bytes(768))
    return image


def _profile(body: bytes | None) -> bytes | None:
    if not body:
        return None
    name, _, rest = body.partition(b"\0")
    if len(name) > 79 or rest[:1] != b"\0":
        return b"damaged"
    try:
        return zlib.decompressobj().decompress(rest[1:], _MAX_PROFILE_BYTES + 1)
    except zlib.error:
        return b"damaged"


def _density(body: bytes) -> Density | None:
    if len(body) != 9:
        return None
    x, y, unit = struct.unpack(">IIB", body)
    if unit == 1:
        return Density(x / 100, y / 100, 3) or None
    return (Density(x, y, 1) or None) if x != y else None
