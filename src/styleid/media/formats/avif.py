"""Read AVIF, and write it with the quality, subsampling, range and colour code points of the source.

All AVIF is written lossily, because Pillow's encoder cannot write RGB losslessly. Depths of 10 and 12 bits become 8.
Rotation and mirroring are properties (irot, imir), which Pillow reads and writes as the EXIF orientation.
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from PIL import Image

from styleid.media.containers.errors import BadFileError, check_tail
from styleid.media.formats.decoded import Decoded, MovingPart, check_size, kept_profile
from styleid.media.formats.heif_video import read_moving, with_video, xmp_packet
from styleid.media.formats.kept import Kept
from styleid.media.formats.parse.av1 import base_quantiser
from styleid.media.formats.parse.exif import ExifFacts, MetadataMode, read_exif
from styleid.media.formats.parse.heif_motion import picture_end
from styleid.media.formats.parse.isobmff import HeifFile, Item, colour_points, read_heif
from styleid.media.formats.raster import Layout, Raster, from_image, to_image

if TYPE_CHECKING:
    from PIL.AvifImagePlugin import AvifImageFile

_DEFAULT_QUALITY = 80
_SRGB_POINTS = (1, 13)


@dataclass(frozen=True)
class AvifEncoding:
    """How an AVIF was compressed.

    Attributes:
        quantiser: AV1's base quantiser index, 0 to 255, None if it cannot be read.
        subsampling: "4:4:4", "4:2:2", "4:2:0" or "4:0:0".
        full_range: Whether samples use the full range.
        points: Primaries and transfer of the nclx property, None if it has none.
        moving: The video to write after the picture, if any; never the source's video.
    """

    quantiser: int | None
    subsampling: str
    full_range: bool
    points: tuple[int, int] | None
    moving: MovingPart | None = None


def decode(data: bytes, max_pixels: int) -> Decoded:
    """Decode an AVIF of one picture, and find the video of a motion photo.

    Args:
        data: The whole file.
        max_pixels: Limit for width * height.

    Raises:
        BadFileError: The file is damaged, too large, animated or of an unsupported kind. Pillow may raise other errors,
            too.
    """
    still = data[: picture_end(data)]
    file = read_heif(still)
    _check_kind(file)
    opened = _opener()
    item = file.picture()
    for body in (b for i in (file.items.get(file.primary), item) if i and (b := i.property_body(b"ispe"))):
        if len(body) >= 12:
            check_size(*struct.unpack_from(">II", body, 4), max_pixels)
    for start, end in item.places:
        check_tail(still[start:end])
    image = opened(io.BytesIO(still))
    check_size(*image.size, max_pixels)
    if image.n_frames > 1:
        raise BadFileError(f"it is an animated AVIF of {image.n_frames} frames, and each would have to be checked. "
                      "Save its frames as single pictures")  # fmt: skip
    config = item.property_body(b"av1C") or bytes(4)
    samples = from_image(image)
    if config[2] & 0x10 and samples.ndim == 3 and samples.shape[2] == 3:
        samples = samples[:, :, 0].copy()
    channels = samples.shape[2] if samples.ndim == 3 else 1
    raster = Raster(samples, {1: Layout.GREY, 3: Layout.RGB}.get(channels, Layout.RGB_ALPHA))
    facts = read_exif(image.info["exif"]) if "exif" in image.info else ExifFacts()
    profile, notes = kept_profile(image.info.get("icc_profile"), raster, facts)
    image.close()
    encoding = AvifEncoding(_quantiser(still, item), _subsampling(config), *_colour(item))
    moving, further = read_moving(data, len(still), file)
    notes += _notes(file, config, further)
    return Decoded(raster, Kept(facts.orientation, None, profile, facts.exposure), encoding, notes, moving)


def encode(raster: Raster, kept: Kept, encoding: AvifEncoding, metadata: MetadataMode) -> bytes:
    """Encode a raster like the source.

    Args:
        raster: The pixels.
        kept: The metadata to write.
        encoding: How the source was compressed.
        metadata: "strip" or "safe".
    """
    mode = {Layout.GREY: "L", Layout.RGB: "RGB", Layout.RGB_ALPHA: "RGBA"}[raster.layout]
    grey = raster.layout is Layout.GREY
    out = io.BytesIO()
    to_image(raster.samples, mode).save(
        out,
        "AVIF",
        quality=quality_of(encoding.quantiser),
        subsampling="4:0:0" if grey else encoding.subsampling,
        range="full" if encoding.full_range else "limited",
        icc_profile=kept.icc_profile or b"",
        exif=kept.exif(metadata),
        xmp=xmp_packet(kept, encoding.moving, "image/avif"),
    )
    data = out.getvalue()
    if encoding.points and not kept.icc_profile and encoding.points != _SRGB_POINTS:
        data = _with_points(data, encoding.points)
    return with_video(data, encoding.moving)


def _opener() -> type[AvifImageFile]:
    reason = "it is an AVIF, and this Pillow was built without AVIF. Type: pip install 'pillow>=11.3'"
    try:
        from PIL import AvifImagePlugin
    except ImportError as error:
        raise BadFileError(reason) from error
    if not AvifImagePlugin.SUPPORTED:
        raise BadFileError(reason)
    return AvifImagePlugin.AvifImageFile


def _check_kind(file: HeifFile) -> None:
    if b"avif" not in file.brands and b"avis" not in file.brands:
        raise BadFileError("it is a video or a file of an unknown kind, not a photo")
    if file.items.get(file.primary, Item()).property_body(b"clap") is not None:
        raise BadFileError("it is an AVIF with a crop, which decoders apply differently. Save it uncropped first")


def _quantiser(data: bytes, item: Item) -> int | None:
    return base_quantiser(b"".join(data[start:end] for start, end in item.places))


def quality_of(quantiser: int | None) -> int:
    """Return the quality, 0 to 100, at which the installed encoder uses the quantiser nearest to the given one."""
    if quantiser is None:
        return _DEFAULT_QUALITY
    table = _quantisers()
    return min(range(101), key=lambda q: (abs(table[q] - quantiser), -q))


@lru_cache(maxsize=1)
def _quantisers() -> tuple[int, ...]:
    """Return the encoder's quantiser for each quality. It differs between versions, but not between pictures."""
    found: list[int] = []
    for quality in range(101):
        out = io.BytesIO()
        Image.new("RGB", (16, 16)).save(out, "AVIF", quality=quality, speed=10)
        data = out.getvalue()
        index = _quantiser(data, read_heif(data).picture())
        found.append(round((100 - quality) * 2.52) if index is None else index)
    return tuple(found)


def _subsampling(config: bytes) -> str:
    if config[2] & 0x10:
        return "4:0:0"
    return {(1, 1): "4:2:0", (1, 0): "4:2:2"}.get((config[2] >> 3 & 1, config[2] >> 2 & 1), "4:4:4")


def _colour(item: Item) -> tuple[bool, tuple[int, int] | None]:
    if (points := colour_points(item)) is None:
        return True, None
    primaries, transfer, _, full = points
    return full, (primaries, transfer) if 2 not in (primaries, transfer) else None


def _with_points(data: bytes, points: tuple[int, int]) -> bytes:
    """Write primaries and transfer into the nclx property; Pillow can only write those of sRGB."""
    at = data.find(b"colrnclx")
    return data if at < 0 else data[: at + 8] + struct.pack(">HH", *points) + data[at + 12 :]


def _notes(file: HeifFile, config: bytes, further: set[str]) -> tuple[str, ...]:
    """Return notes on a reduced depth and on parts that are left out; `further` names those that are no items."""
    notes: list[str] = []
    if config[2] & 0x40:
        notes.append("a depth of more than 8 bits was written with 8")
    kinds = {i.kind for i in file.items.values()} - {b"av01", b"grid", b"Exif", b"mime", b""}
    if left_out := further | {kind.decode("latin-1") for kind in kinds}:
        notes.append("further parts of the file were left out: " + ", ".join(sorted(left_out)))
    return tuple(notes)
