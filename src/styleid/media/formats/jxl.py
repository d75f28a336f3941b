"""Read JPEG XL, and write it like the source: lossless, or lossy at the quality that gives about the source's size.

pillow-jxl-plugin (extra `jxl`) decodes and encodes. It gets only the codestream or pixels, because it would copy the
content of a JPEG from which a picture was opened. It cannot store a colour profile, so colours of a lossy picture are
converted to sRGB. Its EXIF box lacks the offset field that readers expect, so boxes are written here.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
from PIL import Image

from styleid.errors import MissingDependencyError
from styleid.media.containers.errors import BadFileError, check_tail
from styleid.media.counts import counted
from styleid.media.formats.decoded import Decoded, check_size, kept_profile
from styleid.media.formats.kept import Kept
from styleid.media.formats.parse.exif import ExifFacts, MetadataMode, read_exif
from styleid.media.formats.parse.jxl import (
    ALPHA,
    BLACK,
    JXL_SIGNATURE,
    JXL_TYPE,
    JxlHead,
    jxl_box,
    jxl_exif,
    jxl_head,
    jxl_parts,
)
from styleid.media.formats.raster import ALPHA_LAYOUTS, Layout, Raster, Samples, from_image, to_image

_QUALITIES = (30, 45, 60, 70, 78, 84, 88, 90, 92, 94, 96, 98)
_EFFORT, _EFFORT_OF_TRIES = 5, 3
_TOLERANCE = 1.03
_MODES = {"L": Layout.GREY, "I;16": Layout.GREY, "LA": Layout.GREY_ALPHA, "RGB": Layout.RGB, "RGBA": Layout.RGB_ALPHA}


@dataclass(frozen=True)
class JxlEncoding:
    """How a JPEG XL was compressed. bytes_per_pixel: size of a lossy codestream, since its quality is not stored."""

    lossless: bool
    bytes_per_pixel: float = 0.0


def decode(data: bytes, max_pixels: int) -> Decoded:
    """Decode a JPEG XL of one picture.

    Args:
        data: The whole file.
        max_pixels: Limit for width * height.

    Raises:
        BadFileError: The file is damaged, too large, animated, or could not be written the same way. The plugin may
            raise other errors, too.
        MissingDependencyError: pillow-jxl-plugin is not installed.
    """
    codestream, boxes = jxl_parts(data)
    head = jxl_head(codestream)
    check_size(head.width, head.height, max_pixels)
    _check(head)
    check_tail(codestream)
    image = _plugin().JXLImageFile(io.BytesIO(codestream))
    upright = (head.width, head.height) if head.orientation < 5 else (head.height, head.width)
    if image.size != upright or image.mode not in _MODES:
        raise BadFileError("the JPEG XL's pixels cannot be decoded: the file is damaged or of an unsupported kind")
    raster = Raster(from_image(image), _MODES[image.mode], 16 if image.mode == "I;16" else 8)
    raster, notes = _in_srgb(raster, image.info.get("icc_profile"), lossless=head.lossless)
    facts = next((read_exif(jxl_exif(body)[1]) for kind, body in boxes if kind == b"Exif"), ExifFacts())
    encoding = JxlEncoding(head.lossless, 0.0 if head.lossless else len(codestream) / (head.width * head.height))
    return Decoded(raster, Kept(exposure=facts.exposure), encoding, (*notes, *_notes(head, boxes)))


def encode(raster: Raster, kept: Kept, encoding: JxlEncoding, metadata: MetadataMode) -> bytes:
    """Encode a raster like the source.

    Args:
        raster: The pixels.
        kept: The metadata to write.
        encoding: How the source was compressed.
        metadata: "strip" or "safe".

    Raises:
        MissingDependencyError: pillow-jxl-plugin is not installed.
    """
    size = raster.size[0] * raster.size[1]
    quality = 100 if encoding.lossless else _quality(raster, encoding.bytes_per_pixel * size)
    codestream, others = jxl_parts(_coded(raster, quality, _EFFORT))
    boxes = b"".join(jxl_box(kind, body) for kind, body in others if kind == b"jxll") + jxl_box(b"jxlc", codestream)
    if exif := kept.exif(metadata):
        boxes += jxl_box(b"Exif", bytes(4) + exif)
    if kept.mark:
        boxes += jxl_box(b"xml ", kept.mark)
    return JXL_SIGNATURE + JXL_TYPE + boxes


def _plugin() -> Any:
    try:
        from pillow_jxl import JpegXLImagePlugin
    except ImportError as error:
        package = "'styleid[jxl]'"
        raise MissingDependencyError("pillow-jxl-plugin, which reads and writes JPEG XL,", package) from error
    return JpegXLImagePlugin


def _check(head: JxlHead) -> None:
    """Refuse pictures that could not be written the same way."""
    kinds = [extra.kind for extra in head.extras]
    problem = ""
    if head.animated:
        problem = "it is animated, and each frame would have to be checked"
    elif BLACK in kinds:
        problem = "its colours are CMYK"
    elif any(extra.premultiplied for extra in head.extras) or kinds.count(ALPHA) > 1:
        problem = "it has premultiplied alpha or several alpha channels"
    elif not head.bits:
        problem = "it holds floating-point numbers"
    elif head.lossless and head.bits > 8 and (head.bits != 16 or kinds):
        problem = f"it is lossless with {head.bits} bits, but only 8 could be written"
    if problem:
        raise BadFileError(f"it is a JPEG XL that cannot be written again: {problem}. Save it as PNG or TIFF first")


def _in_srgb(raster: Raster, icc_profile: bytes | None, *, lossless: bool) -> tuple[Raster, tuple[str, ...]]:
    """Return a raster in sRGB, the only colour space that the encoder can store, and a note if it was converted."""
    if not icc_profile or icc_profile == _written_profile(raster.layout, raster.bits):
        return raster, ()
    if lossless or raster.bits == 16 or kept_profile(icc_profile, raster, ExifFacts())[0] is None:
        raise BadFileError("it is a JPEG XL with a colour profile other than sRGB, which cannot be written again "
                           "without changing its pixels. Save it as PNG or TIFF first")  # fmt: skip
    return replace(raster, samples=_converted(raster, icc_profile)), (
        "its colours were converted to sRGB: other colour profiles cannot be written in JPEG XL",
    )


def _converted(raster: Raster, icc_profile: bytes) -> Samples:
    from PIL import ImageCms

    cms: Any = ImageCms  # Pillow leaves some of its types open
    samples = raster.samples if raster.samples.ndim == 3 else raster.samples[..., None]
    alpha = samples[..., -1:] if raster.layout in ALPHA_LAYOUTS else samples[..., :0]
    colours = samples[..., : samples.shape[2] - alpha.shape[2]]
    grey = colours.shape[2] == 1
    source, target = cms.ImageCmsProfile(io.BytesIO(icc_profile)), cms.createProfile("sRGB")
    image = to_image(colours[..., 0] if grey else colours, "L" if grey else "RGB")
    seen = np.asarray(cms.profileToProfile(image, source, target, outputMode="RGB"))
    whole = np.concatenate([seen[..., :1] if grey else seen, alpha], axis=2)
    return whole[..., 0] if whole.shape[2] == 1 else whole


@cache
def _written_profile(layout: Layout, bits: int) -> bytes | None:
    """Return the sRGB profile that the decoder reports for files written here."""
    shape = (1, 1) if layout.channels == 1 else (1, 1, layout.channels)
    pixel = Raster(np.zeros(shape, np.uint16 if bits == 16 else np.uint8), layout, bits)
    image = _plugin().JXLImageFile(io.BytesIO(_coded(pixel, 100, 1)))
    return image.info.get("icc_profile")


def _coded(raster: Raster, quality: int, effort: int) -> bytes:
    """Encode pixels without metadata; quality 100 is lossless."""
    mode = next(m for m, layout in _MODES.items() if layout is raster.layout and (m == "I;16") == (raster.bits == 16))
    height, width = raster.size
    image = Image.frombytes(mode, (width, height), np.ascontiguousarray(raster.samples).tobytes())
    _plugin()
    out = io.BytesIO()
    image.save(out, "JXL", quality=quality, lossless=quality == 100, effort=effort, use_container=False)
    return out.getvalue()


def _quality(raster: Raster, wanted_bytes: float) -> int:
    """Return the highest quality in `_QUALITIES` whose file is not larger than wanted (plus 3 %), else the lowest."""
    low, high = 0, len(_QUALITIES) - 1
    while low < high:
        middle = (low + high + 1) // 2
        if len(_coded(raster, _QUALITIES[middle], _EFFORT_OF_TRIES)) <= wanted_bytes * _TOLERANCE:
            low = middle
        else:
            high = middle - 1
    return _QUALITIES[low]


def _notes(head: JxlHead, boxes: list[tuple[bytes, bytes]]) -> tuple[str, ...]:
    notes: list[str] = []
    if head.bits > 8 and not head.lossless:
        notes.append("a depth of more than 8 bits was written with 8")
    further = sum(extra.kind != ALPHA for extra in head.extras) + head.preview
    if further:
        notes.append(f"left out: {counted(further, 'extra channel or preview', 'extra channels or previews')}")
    if any(kind == b"jhgm" for kind, _ in boxes):
        notes.append("the gain map was left out, so HDR displays show nothing brighter than white")
    return tuple(notes)
