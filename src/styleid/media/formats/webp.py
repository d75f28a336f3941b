"""Read WebP and write it as it was: lossless stays lossless, lossy keeps its quantiser.

A lossy WebP does not store the quality that it was made with, but its quantiser indices follow from it; they are read
from the frame header (RFC 6386, section 9) and libwebp's mapping (src/enc/quant_enc.c, `QualityToCompression`) is
inverted.
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass

import cv2
import numpy as np

from styleid.media.containers.chunk import Chunk
from styleid.media.containers.errors import BadFileError, CutShortError, check_tail
from styleid.media.containers.riff import riff_body, riff_chunk, riff_chunks
from styleid.media.formats.decoded import Decoded, check_size, kept_profile
from styleid.media.formats.kept import Kept
from styleid.media.formats.parse.exif import ExifFacts, MetadataMode, read_exif
from styleid.media.formats.raster import Layout, Raster, swap_red_and_blue, to_image

_ALPHA_FLAG = 0x10


@dataclass(frozen=True)
class WebpEncoding:
    """Say how a WebP was compressed. quality: libwebp's, 0 to 100, read from the quantiser; unused where lossless."""

    lossless: bool
    quality: float


def decode(data: bytes, max_pixels: int) -> Decoded:
    """Decode a WebP; raises `BadFileError`."""
    chunks, end = riff_chunks(data)
    parts, notes = _still_parts(chunks)
    bitstream = next((c for c in parts if c.kind in (b"VP8 ", b"VP8L")), None)
    if bitstream is None:
        raise BadFileError("the WebP is damaged: it holds no picture")
    check_tail(bitstream.body)
    lossless = bitstream.kind == b"VP8L"
    width, height = _lossless_size(bitstream.body) if lossless else _lossy_size(bitstream.body)
    check_size(width, height, max_pixels)
    alpha = next((c for c in parts if c.kind == b"ALPH"), None)
    found = cv2.imdecode(np.frombuffer(_bare(bitstream, alpha, width, height), np.uint8), cv2.IMREAD_UNCHANGED)
    if found is None or found.ndim != 3 or found.shape[:2] != (height, width):
        raise BadFileError("the WebP's pixels cannot be decoded: the file is cut short or damaged")
    four = found.shape[2] == 4
    raster = Raster(swap_red_and_blue(found), Layout.RGB_ALPHA if four else Layout.RGB)
    first = {c.kind: c.body for c in reversed(chunks)}
    facts = read_exif(first[b"EXIF"]) if b"EXIF" in first else ExifFacts()
    profile, more = kept_profile(first.get(b"ICCP"), raster, facts)
    if data[end:].strip(b"\0"):
        notes = (*notes, f"{len(data) - end} bytes after the picture were left out")
    encoding = WebpEncoding(lossless, 100.0 if lossless else _quality(bitstream.body))
    return Decoded(raster, Kept(facts.orientation, None, profile, facts.exposure), encoding, (*notes, *more))


def encode(raster: Raster, kept: Kept, encoding: WebpEncoding, metadata: MetadataMode) -> bytes:
    """Encode a raster as the source was; the result holds nothing but pixels and what is kept."""
    image = to_image(raster.samples, "RGBA" if raster.layout is Layout.RGB_ALPHA else "RGB")
    out = io.BytesIO()
    options = {"lossless": True, "quality": 75} if encoding.lossless else {"quality": encoding.quality}
    image.save(out, "WEBP", method=4, exact=True, alpha_quality=100, icc_profile=kept.icc_profile or b"",
               exif=kept.exif(metadata), xmp=kept.mark, **options)  # fmt: skip
    return out.getvalue()


def _still_parts(chunks: list[Chunk]) -> tuple[list[Chunk], tuple[str, ...]]:
    """Return the chunks of the one picture, out of its frame where the file is an animation of one."""
    frames = [c for c in chunks if c.kind == b"ANMF"]
    if len(frames) > 1:
        raise BadFileError(f"it is an animated WebP of {len(frames)} frames: each would need its own check. "
                      "Save its frames as single pictures")  # fmt: skip
    if frames:
        canvas = next((c.body[4:10] for c in chunks if c.kind == b"VP8X"), b"")
        if frames[0].body[:12] != bytes(6) + canvas:
            raise BadFileError("it is an animated WebP whose one frame covers a part of its canvas. Save it as a still")
        return list(riff_body(frames[0].source, frames[0].start + 16, frames[0].end)), (
            "an animation of one frame was written as a still picture",
        )
    return chunks, ()


def _bare(bitstream: Chunk, alpha: Chunk | None, width: int, height: int) -> bytes:
    body = riff_chunk(bitstream.kind, bitstream.body)
    if alpha is not None and bitstream.kind == b"VP8 ":
        size = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
        body = riff_chunk(b"VP8X", bytes([_ALPHA_FLAG, 0, 0, 0]) + size) + riff_chunk(b"ALPH", alpha.body) + body
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body


def _lossless_size(body: bytes) -> tuple[int, int]:
    if len(body) < 5 or body[0] != 0x2F:
        raise CutShortError("the WebP's picture header")
    bits = struct.unpack_from("<I", body, 1)[0]
    return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1


def _lossy_size(body: bytes) -> tuple[int, int]:
    if len(body) < 10 or body[3:6] != b"\x9d\x01\x2a":
        raise CutShortError("the WebP's picture header")
    width, height = struct.unpack_from("<HH", body, 6)
    return width & 0x3FFF, height & 0x3FFF


class _BoolReader:
    """Decode equiprobable flags and literals of VP8's arithmetic code (RFC 6386, section 7)."""

    def __init__(self, data: bytes) -> None:
        self._data, self._next = data, 2
        self._value = int.from_bytes(data[:2].ljust(2, b"\0"), "big")
        self._range, self._shifted = 255, 0

    def flag(self, probability: int = 128) -> int:
        split = 1 + (((self._range - 1) * probability) >> 8)
        one = self._value >= split << 8
        if one:
            self._range -= split
            self._value -= split << 8
        else:
            self._range = split
        while self._range < 128:
            self._range <<= 1
            self._value <<= 1
            self._shifted += 1
            if self._shifted == 8:
                self._shifted = 0
                self._value |= self._data[self._next] if self._next < len(self._data) else 0
                self._next += 1
        return int(one)

    def literal(self, bits: int) -> int:
        value = 0
        for _ in range(bits):
            value = value << 1 | self.flag()
        return value

    def optional(self, bits: int) -> int:
        """Return a signed value behind a presence flag, 0 where absent."""
        if not self.flag():
            return 0
        value = self.literal(bits)
        return -value if self.flag() else value


def _quality(body: bytes) -> float:
    """Return the quality that makes libwebp use this frame's quantisers."""
    reader = _BoolReader(body[10:])
    reader.literal(2)
    segments: list[int] = []
    absolute = 0
    branches = [255, 255, 255]
    if reader.flag():
        moves_map, has_data = reader.flag(), reader.flag()
        if has_data:
            absolute = reader.flag()
            segments = [reader.optional(7) for _ in range(4)]
            for _ in range(4):
                reader.optional(6)
        if moves_map:
            branches = [reader.literal(8) if reader.flag() else 255 for _ in range(3)]
    reader.literal(1 + 6 + 3)
    if reader.flag() and reader.flag():
        for _ in range(8):
            reader.optional(6)
    reader.literal(2)
    base = reader.literal(7)
    indices = [v if absolute else base + v for v in segments] or [base] * 4
    return _quality_of(indices, [b / 255 for b in branches])


def _quality_of(indices: list[int], branches: list[float]) -> float:
    """Return the quality behind the quantiser indices of four segments.

    branches: the tree of segments' probabilities: of the first two together, of the first among those, of the third
    among the others. libwebp raises one base to powers whose mean over the blocks is 1, so the weighted mean of the
    logarithms gives the base back.
    """
    pair, first, third = branches
    weights = np.array([pair * first, pair * (1 - first), (1 - pair) * third, (1 - pair) * (1 - third)])
    fineness = np.clip(1 - np.clip(indices, 0, 127) / 127, 1e-3, 1)
    linear = float(np.exp(weights @ np.log(fineness))) ** 3
    return float(np.clip(linear * 150 if linear < 0.5 else (linear + 1) * 50, 1, 100))
