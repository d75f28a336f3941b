"""What is kept of a photo's metadata, and the EXIF blocks built from it.

The list below is an allow-list and what is written is built anew from it: a tag that is not named here cannot reach
an output. `"strip"` keeps what a viewer needs to show the picture rightly: orientation, pixel density, colour
profile. `"safe"` adds the technical exposure fields. Dates, positions, serial numbers, makes and models, makers'
notes, names, comments, XMP, IPTC and thumbnails are never kept.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from styleid.media.containers.errors import BadFileError
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
"""Fields of the EXIF directory that "safe" keeps, each a single number, with the types it may have."""

PREFIX = b"Exif\0\0"
_UNCALIBRATED = 0xFFFF
_THUMBNAIL, _THUMBNAIL_LENGTH = 513, 514


@dataclass(frozen=True)
class Density:
    """Hold the pixel density. unit: 1 none (x to y is the pixel's aspect), 2 per inch, 3 per centimetre."""

    x: float
    y: float
    unit: int

    def per_metre(self) -> tuple[int, int]:
        """Return whole pixels per metre."""
        factor = {2: 1 / 0.0254, 3: 100.0}.get(self.unit, 1.0)
        return round(self.x * factor), round(self.y * factor)

    def __bool__(self) -> bool:
        return 0 < self.x < 65536 and 0 < self.y < 65536


@dataclass(frozen=True)
class ExifFacts:
    """Hold what an EXIF block tells that may be kept; adobe_rgb where DCF names that colour space without a profile."""

    orientation: int = 1
    density: Density | None = None
    exposure: tuple[Field, ...] = ()
    adobe_rgb: bool = False


def read_exif(block: bytes) -> ExifFacts:
    """Read an EXIF block, with or without its prefix. What is damaged counts as absent: it is not written anyway."""
    try:
        reader = TiffReader.open(block.removeprefix(PREFIX))
        return read_facts(reader, reader.directory(reader.first_offset))
    except BadFileError:
        return ExifFacts()


def read_facts(reader: TiffReader, first: Directory) -> ExifFacts:
    """Read what may be kept from a main directory and the EXIF directory that it points to."""
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
    """Return the pixel density of a main directory, or None."""
    x, y = first.ratio(X_RESOLUTION), first.ratio(Y_RESOLUTION)
    unit = first.integer(RESOLUTION_UNIT, 2)
    if x is None or y is None or unit not in (1, 2, 3):
        return None
    return Density(x, y, unit) or None


def is_exposure(field: Field) -> bool:
    """Tell whether a field is one of `EXPOSURE_TAGS`, of a right type and a single number."""
    return field.tag in EXPOSURE_TAGS and field.kind in EXPOSURE_TAGS[field.tag][1] and field.count == 1


def exif_leftovers(block: bytes, metadata: MetadataMode) -> list[str]:
    """List what an EXIF block holds outside the allow-list."""
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
            found.append(f"EXIF: {spare} bytes outside any tag")
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
    """List the tags of a main directory outside `allowed` and the exposure fields; adds to ranges what is accounted."""
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
