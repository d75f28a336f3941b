"""Read the metadata of a photo that may be kept, and find EXIF that may not.

The tags below are an allow-list. Output metadata is built anew from it, so a tag that is not listed cannot reach an
output. Mode "strip" keeps what a viewer needs to show the picture correctly: orientation, pixel density and colour
profile. Mode "safe" adds exposure fields. Dates, positions, serial numbers, makes and models, maker notes, names,
comments, XMP, IPTC and thumbnails are never kept.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from styleid.media.containers.errors import BadFileError
from styleid.media.counts import counted
from styleid.media.formats.parse.ifd import (
    EXIF_POINTER,
    GPS_POINTER,
    INTEROP_POINTER,
    LONG,
    ORIENTATION,
    RATIONAL,
    RESOLUTION_UNIT,
    SHORT,
    SRATIONAL,
    UNDEFINED,
    X_RESOLUTION,
    Y_RESOLUTION,
    Directory,
    Field,
    TiffReader,
    uncovered,
)

MetadataMode = Literal["strip", "safe"]

EXPOSURE_TAGS: dict[int, tuple[str, tuple[int, ...]]] = {
    33434: ("ExposureTime", (RATIONAL,)),
    33437: ("FNumber", (RATIONAL,)),
    34850: ("ExposureProgram", (SHORT,)),
    34855: ("ISO", (SHORT, LONG)),
    37377: ("ShutterSpeedValue", (SRATIONAL,)),
    37378: ("ApertureValue", (RATIONAL,)),
    37379: ("BrightnessValue", (SRATIONAL,)),
    37380: ("ExposureBias", (SRATIONAL,)),
    37381: ("MaxApertureValue", (RATIONAL,)),
    37383: ("MeteringMode", (SHORT,)),
    37384: ("LightSource", (SHORT,)),
    37385: ("Flash", (SHORT,)),
    37386: ("FocalLength", (RATIONAL,)),
    40961: ("ColorSpace", (SHORT,)),
    41986: ("ExposureMode", (SHORT,)),
    41987: ("WhiteBalance", (SHORT,)),
    41988: ("DigitalZoomRatio", (RATIONAL,)),
    41989: ("FocalLengthIn35mm", (SHORT,)),
    41990: ("SceneCaptureType", (SHORT,)),
    41991: ("GainControl", (SHORT,)),
    41992: ("Contrast", (SHORT,)),
    41993: ("Saturation", (SHORT,)),
    41994: ("Sharpness", (SHORT,)),
}
"""EXIF fields that mode "safe" keeps: name and allowed types. Each must be a single number."""

PREFIX = b"Exif\0\0"
_UNCALIBRATED = 0xFFFF
_THUMBNAIL, _THUMBNAIL_LENGTH = 513, 514


@dataclass(frozen=True)
class Density:
    """Pixel density. unit: 1 for none (only the ratio of x to y has a meaning), 2 per inch, 3 per centimetre."""

    x: float
    y: float
    unit: int

    def per_metre(self) -> tuple[int, int]:
        """Return x and y in pixels per metre, rounded."""
        factor = {2: 1 / 0.0254, 3: 100.0}.get(self.unit, 1.0)
        return round(self.x * factor), round(self.y * factor)

    def __bool__(self) -> bool:
        return 0 < self.x < 65536 and 0 < self.y < 65536


@dataclass(frozen=True)
class ExifFacts:
    """The contents of an EXIF block that may be kept.

    Attributes:
        orientation: 1 to 8.
        density: Pixel density, None if unknown.
        exposure: Fields of `EXPOSURE_TAGS`.
        adobe_rgb: Whether the block names Adobe RGB as the colour space, in the form of DCF.
    """

    orientation: int = 1
    density: Density | None = None
    exposure: tuple[Field, ...] = ()
    adobe_rgb: bool = False


def read_exif(block: bytes) -> ExifFacts:
    """Read an EXIF block, with or without its prefix; a damaged block counts as absent, since it is never copied."""
    try:
        reader = TiffReader.open(block.removeprefix(PREFIX))
        return read_facts(reader, reader.directory(reader.first_offset))
    except BadFileError:
        return ExifFacts()


def read_facts(reader: TiffReader, first: Directory) -> ExifFacts:
    """Read the contents that may be kept from a main directory and the EXIF directory that it points to.

    Args:
        reader: The file or EXIF block.
        first: Its main directory.
    """
    orientation = first.integer(ORIENTATION, 1)
    exposure: tuple[Field, ...] = ()
    adobe_rgb = False
    try:
        if pointer := first.integer(EXIF_POINTER, 0):
            details = reader.directory(pointer)
            exposure = tuple(f for f in details.fields.values() if is_exposure(f))
            if details.integer(40961, 0) == _UNCALIBRATED and (interop := details.integer(INTEROP_POINTER, 0)):
                index = reader.directory(interop).fields.get(1)
                adobe_rgb = index is not None and index.values in (b"R03\0", b"R03")
    except BadFileError:
        pass
    return ExifFacts(orientation if 1 <= orientation <= 8 else 1, read_density(first), exposure, adobe_rgb)


def read_density(first: Directory) -> Density | None:
    """Return the pixel density from a main directory, None if it is missing or impossible."""
    x, y = first.ratio(X_RESOLUTION), first.ratio(Y_RESOLUTION)
    unit = first.integer(RESOLUTION_UNIT, 2)
    if x is None or y is None or unit not in (1, 2, 3):
        return None
    return Density(x, y, unit) or None


def is_exposure(field: Field) -> bool:
    """Return whether a field is one of `EXPOSURE_TAGS`, of an allowed type, and a single number."""
    return field.tag in EXPOSURE_TAGS and field.kind in EXPOSURE_TAGS[field.tag][1] and field.count == 1


def exif_leftovers(block: bytes, metadata: MetadataMode) -> list[str]:
    """List everything in an EXIF block that the allow-list does not name, one line each.

    Args:
        block: The block, with or without its prefix.
        metadata: "strip" allows only the orientation; "safe" also allows exposure fields.
    """
    try:
        reader = TiffReader.open(block.removeprefix(PREFIX))
        directories = reader.chain()
        found: list[str] = []
        ranges = [(0, reader.header_bytes)]
        for number, directory in enumerate(directories):
            if number:
                found.append("EXIF thumbnail directory")
            found += directory_leftovers(
                reader, directory, metadata, where="EXIF", allowed={ORIENTATION}, ranges=ranges
            )
        if spare := uncovered(reader.data, ranges):
            found.append(f"EXIF: {counted(spare, 'byte')} outside any tag")
    except BadFileError as error:
        return [f"EXIF that cannot be read ({error})"]
    return found


def directory_leftovers(
    reader: TiffReader,
    directory: Directory,
    metadata: MetadataMode,
    *,
    where: str,
    allowed: Collection[int],
    ranges: list[tuple[int, int]],
) -> list[str]:
    """List the tags of a main directory, and of its EXIF and GPS directories, that are not allowed.

    Args:
        reader: The file or EXIF block.
        directory: The main directory.
        metadata: "strip", or "safe", which also allows exposure fields.
        where: Name of the block for the lines.
        allowed: Tags that the main directory may have.
        ranges: A list to which the byte ranges of the directories, their values and a thumbnail are added.
    """
    ranges += directory.ranges
    if _THUMBNAIL in directory.fields:
        start = directory.integer(_THUMBNAIL, 0)
        ranges.append((start, start + directory.integer(_THUMBNAIL_LENGTH, 0)))
    found: list[str] = []
    for field in directory.fields.values():
        if field.tag in (EXIF_POINTER, GPS_POINTER):
            details = reader.directory(directory.integer(field.tag, 0))
            ranges += details.ranges
            if field.tag == EXIF_POINTER:
                found += [_named("EXIF", f) for f in details.fields.values() if not is_exposure(f)]
        if field.tag not in allowed and (field.tag != EXIF_POINTER or metadata == "strip"):
            found.append(_named(where, field))
    return found


_NAMES = {
    270: "ImageDescription", 271: "Make", 272: "Model", 305: "Software", 306: "DateTime", 315: "Artist",
    316: "HostComputer", _THUMBNAIL: "thumbnail", _THUMBNAIL_LENGTH: "thumbnail length", 700: "XMP",
    33432: "Copyright", 33723: "IPTC", 34377: "Photoshop resources", EXIF_POINTER: "exposure details",
    GPS_POINTER: "GPS position", 36867: "DateTimeOriginal", 36868: "DateTimeDigitized", 37500: "maker's note",
    37510: "UserComment", 37724: "Photoshop layers", 42016: "ImageUniqueID", 42032: "owner's name",
    42033: "body serial number", 42037: "lens serial number",
}  # fmt: skip


def _named(where: str, field: Field) -> str:
    name = _NAMES.get(field.tag) or EXPOSURE_TAGS.get(field.tag, ("",))[0]
    text = ""
    if isinstance(field.values, bytes) and field.kind != UNDEFINED:
        text = field.values.rstrip(b"\0")[:40].decode("latin-1")
    return f"{where} tag {field.tag}" + (f" ({name})" if name else "") + (f": {text!r}" if text else "")
