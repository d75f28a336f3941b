"""Read WebP, and write it like the source: lossless or with the same quantiser, animations with the same times.

A lossy WebP does not store the quality that its encoder was asked for, but its quantiser indices depend on it. They are
read from the frame header (RFC 6386, section 9), and libwebp's mapping (src/enc/quant_enc.c, `QualityToCompression`) is
inverted.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace

import cv2
import numpy as np
from PIL.WebPImagePlugin import WebPImageFile

from styleid.media.containers.chunk import Chunk
from styleid.media.containers.errors import BadFileError, CutShortError, check_tail
from styleid.media.containers.riff import riff_body, riff_chunk, riff_chunks
from styleid.media.formats.decoded import Decoded, check_size, kept_profile, trailing_note
from styleid.media.formats.kept import Kept
from styleid.media.formats.parse.exif import ExifFacts, MetadataMode, read_exif
from styleid.media.formats.raster import Layout, Raster, Samples, swap_red_and_blue, to_image
from styleid.media.formats.strip import Strip, joined, parted

_ICC_FLAG, _ALPHA_FLAG, _EXIF_FLAG, _XMP_FLAG, _ANIMATION_FLAG = 0x20, 0x10, 0x08, 0x04, 0x02
_NO_BLENDING = 0x02
_MOST_STRIP_PX = 200_000


@dataclass(frozen=True)
class WebpEncoding:
    """How a WebP was compressed. quality: libwebp's quality, 0 to 100, from the quantiser; unused if lossless."""

    lossless: bool
    quality: float


@dataclass(frozen=True)
class WebpAnimation:
    """How an animated WebP was compressed.

    Attributes:
        strip: Layout of the frames in the raster.
        frames: Compression and duration in milliseconds of each frame.
        control: Body of the ANIM chunk: background colour and number of repetitions.
    """

    strip: Strip
    frames: tuple[tuple[WebpEncoding, int], ...]
    control: bytes


def decode(data: bytes, max_pixels: int) -> Decoded:
    """Decode a WebP; the frames of an animation are stacked into one strip.

    Args:
        data: The whole file.
        max_pixels: Limit for width * height, for an animation of the whole strip.

    Raises:
        BadFileError: The file is damaged or too large. Decoders may raise other errors, too.
    """
    chunks, end = riff_chunks(data)
    notes = trailing_note(data, end)
    frames = [c for c in chunks if c.kind == b"ANMF"]
    whole = next((bytes(6) + c.body[4:10] for c in chunks if c.kind == b"VP8X"), b"")
    if len(frames) > 1 or any(frame.body[:12] != whole for frame in frames):
        raster, encoding = _animation(data, chunks, frames, max_pixels)
        still = ()
    else:
        parts = list(_frame_parts(frames[0])) if frames else chunks
        raster, encoding = _still(parts, max_pixels)
        still = ("an animation of one frame was written as a still picture",) * len(frames)
    first = {c.kind: c.body for c in reversed(chunks)}
    facts = read_exif(first[b"EXIF"]) if b"EXIF" in first else ExifFacts()
    profile, more = kept_profile(first.get(b"ICCP"), raster, facts)
    return Decoded(raster, Kept(facts.orientation, None, profile, facts.exposure), encoding, (*still, *notes, *more))


def _still(parts: list[Chunk], max_pixels: int) -> tuple[Raster, WebpEncoding]:
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
    return raster, _encoding_of(bitstream)


def _encoding_of(bitstream: Chunk) -> WebpEncoding:
    lossless = bitstream.kind == b"VP8L"
    return WebpEncoding(lossless, 100.0 if lossless else _quality(bitstream.body))


def _animation(data: bytes, chunks: list[Chunk], frames: list[Chunk], max_pixels: int) -> tuple[Raster, WebpAnimation]:
    """Return an animation's frames as they are shown, stacked into one strip."""
    canvas = next((c.body for c in chunks if c.kind == b"VP8X" and len(c) >= 10), None)
    control = next((c.body for c in chunks if c.kind == b"ANIM" and len(c) >= 6), None)
    if canvas is None or control is None:
        raise BadFileError("the WebP is damaged: its animation has no header")
    width, height = (int.from_bytes(canvas[at : at + 3], "little") + 1 for at in (4, 7))
    strip = Strip(height, len(frames))
    check_size(width, strip.height, max_pixels)
    if strip.height > _MOST_STRIP_PX:
        raise BadFileError(f"it is an animated WebP of {len(frames)} frames, which together are more than "
                           f"{_MOST_STRIP_PX:,} pixels high. Save it as a video")  # fmt: skip
    codings: list[tuple[WebpEncoding, int]] = []
    for frame in frames:
        bitstream = next((c for c in _frame_parts(frame) if c.kind in (b"VP8 ", b"VP8L")), None)
        if bitstream is None:
            raise BadFileError("the WebP is damaged: a frame holds no picture")
        check_tail(bitstream.body)
        codings.append((_encoding_of(bitstream), int.from_bytes(frame.body[12:15], "little")))
    image = WebPImageFile(io.BytesIO(data))
    if image.n_frames != len(frames) or image.size != (width, height):
        raise BadFileError("the WebP is damaged: number or size of its frames differ from its header")
    shown: list[Samples] = []
    for number in range(len(frames)):
        image.seek(number)
        shown.append(np.asarray(image.convert("RGBA")))
    image.close()
    samples = joined(shown, strip)
    if (samples[..., 3] == 255).all():
        return Raster(samples[..., :3].copy(), Layout.RGB), WebpAnimation(strip, tuple(codings), control[:6])
    return Raster(samples, Layout.RGB_ALPHA), WebpAnimation(strip, tuple(codings), control[:6])


def _frame_parts(frame: Chunk) -> Iterator[Chunk]:
    return riff_body(frame.source, frame.start + 16, frame.end)


def encode(raster: Raster, kept: Kept, encoding: WebpEncoding | WebpAnimation, metadata: MetadataMode) -> bytes:
    """Encode a raster like the source.

    Args:
        raster: The pixels; for an animation, the strip of all frames.
        kept: The metadata to write.
        encoding: How the source was compressed.
        metadata: "strip" or "safe".
    """
    if isinstance(encoding, WebpAnimation):
        return _encoded_animation(raster, kept, encoding, metadata)
    return _encoded_still(raster, kept, encoding, metadata)


def _encoded_animation(raster: Raster, kept: Kept, encoding: WebpAnimation, metadata: MetadataMode) -> bytes:
    """Encode every frame completely, so that none depends on another, with the durations of the source."""
    width = raster.size[1]
    size = (width - 1).to_bytes(3, "little") + (encoding.strip.frame_height - 1).to_bytes(3, "little")
    body = riff_chunk(b"ANIM", encoding.control)
    for samples, (how, milliseconds) in zip(parted(raster.samples, encoding.strip), encoding.frames, strict=True):
        still = _encoded_still(replace(raster, samples=samples), Kept(), how, "strip")
        pictures = (c for c in riff_chunks(still)[0] if c.kind in (b"ALPH", b"VP8 ", b"VP8L"))
        head = bytes(6) + size + milliseconds.to_bytes(3, "little") + bytes([_NO_BLENDING])
        body += riff_chunk(b"ANMF", head + b"".join(riff_chunk(c.kind, c.body) for c in pictures))
    flags = _ANIMATION_FLAG | _ALPHA_FLAG * (raster.layout is Layout.RGB_ALPHA)
    if kept.icc_profile:
        flags, body = flags | _ICC_FLAG, riff_chunk(b"ICCP", kept.icc_profile) + body
    if exif := kept.exif(metadata):
        flags, body = flags | _EXIF_FLAG, body + riff_chunk(b"EXIF", exif)
    if kept.mark:
        flags, body = flags | _XMP_FLAG, body + riff_chunk(b"XMP ", kept.mark)
    body = riff_chunk(b"VP8X", bytes([flags, 0, 0, 0]) + size) + body
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body


def _encoded_still(raster: Raster, kept: Kept, encoding: WebpEncoding, metadata: MetadataMode) -> bytes:
    image = to_image(raster.samples, "RGBA" if raster.layout is Layout.RGB_ALPHA else "RGB")
    out = io.BytesIO()
    options = {"lossless": True, "quality": 75} if encoding.lossless else {"quality": encoding.quality}
    image.save(out, "WEBP", method=4, exact=True, alpha_quality=100, icc_profile=kept.icc_profile or b"",
               exif=kept.exif(metadata), xmp=kept.mark, **options)  # fmt: skip
    return out.getvalue()


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
    """Decoder for flags and literals in VP8's arithmetic code (RFC 6386, section 7)."""

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
        """Return a signed value that follows a presence flag, 0 if absent."""
        if not self.flag():
            return 0
        value = self.literal(bits)
        return -value if self.flag() else value


def _quality(body: bytes) -> float:
    """Return the quality at which libwebp uses this frame's quantisers."""
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
    """Return the quality from the quantiser indices of four segments.

    libwebp raises one base to powers whose mean over all blocks is 1, so the weighted mean of the logarithms gives the
    logarithm of that base.

    branches: probabilities of the segment tree: of the first two segments together, of the first of these two, and of
        the third of the other two.
    """
    pair, first, third = branches
    weights = np.array([pair * first, pair * (1 - first), (1 - pair) * third, (1 - pair) * (1 - third)])
    fineness = np.clip(1 - np.clip(indices, 0, 127) / 127, 1e-3, 1)
    linear = float(np.exp(weights @ np.log(fineness))) ** 3
    return float(np.clip(linear * 150 if linear < 0.5 else (linear + 1) * 50, 1, 100))
