"""The result of every decoder, and checks that all decoders share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from styleid.media.containers.errors import BadFileError, TooManyPixelsError
from styleid.media.counts import counted
from styleid.media.formats.icc_writer import adobe_rgb_profile, clean_profile
from styleid.media.formats.kept import Kept
from styleid.media.formats.parse.exif import ExifFacts
from styleid.media.formats.parse.motion import NO_MOTION, MotionFacts
from styleid.media.formats.raster import Raster


@dataclass(frozen=True)
class MovingPart:
    """The video of a motion photo or Live Photo.

    Attributes:
        data: An MP4 or QuickTime file.
        motion: How the video relates to the picture.
        beside: Name of the video's own file; "" if it is in the photo's file.
    """

    data: bytes
    motion: MotionFacts = NO_MOTION
    beside: str = ""


@dataclass(frozen=True, eq=False)
class Decoded:
    """A decoded picture file.

    Attributes:
        raster: The pixels as stored.
        kept: The metadata that may be written with them.
        encoding: How the file was compressed, so that it can be encoded the same way; the codec's own frozen dataclass.
        notes: What the user should know about this file.
        moving: The video in the file, if it is a motion photo.
    """

    raster: Raster
    kept: Kept
    encoding: Any
    notes: tuple[str, ...] = ()
    moving: MovingPart | None = None


def check_size(width: int, height: int, max_pixels: int) -> None:
    """Check the size in a file's header before the pixels are decoded.

    Args:
        width: Width in pixels.
        height: Height in pixels.
        max_pixels: Limit for width * height.

    Raises:
        BadFileError: A side is 0.
        TooManyPixelsError: width * height exceeds max_pixels.
    """
    if width < 1 or height < 1:
        raise BadFileError(f"its header states {width} x {height} pixels, which cannot be a picture")
    if width * height > max_pixels:
        raise TooManyPixelsError(
            f"its header states {width} x {height} = {width * height / 1e6:,.0f} million pixels, over the limit of "
            f"{max_pixels / 1e6:,.0f} million. Increase max_pixels if you trust the file and have enough memory"
        )


def trailing_note(data: bytes, end: int) -> tuple[str, ...]:
    """Return a note if a file has bytes other than zeros after the picture, which ends at offset `end`."""
    rest = data[end:]
    return (f"left out: {counted(len(rest), 'byte')} after the picture",) if rest.strip(b"\0") else ()


def kept_profile(icc_profile: bytes | None, raster: Raster, facts: ExifFacts) -> tuple[bytes | None, tuple[str, ...]]:
    """Return the colour profile to write, and notes if the source's profile is left out or replaced.

    Args:
        icc_profile: The source's profile, None if it has none.
        raster: The picture; its layout decides which colour space the profile must be for.
        facts: The source's EXIF, which may name Adobe RGB without a profile.
    """
    space = raster.layout.space
    cleaned = clean_profile(icc_profile, space)
    if icc_profile and cleaned is None:
        return None, ("the colour profile was left out: it is damaged or for another colour space",)
    if cleaned is None and facts.adobe_rgb and space == b"RGB ":
        return adobe_rgb_profile(), (
            "the colour space Adobe RGB was only named in the EXIF: an equal colour profile was embedded",
        )
    return cleaned, ()
