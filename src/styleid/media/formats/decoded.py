"""What every codec speaks: `Decoded` out of a file's bytes, and the checks that come before decoding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from styleid.media.containers.errors import BadFileError, TooManyPixelsError
from styleid.media.formats.icc_writer import adobe_rgb_profile, clean_profile
from styleid.media.formats.kept import Kept
from styleid.media.formats.parse.exif import ExifFacts
from styleid.media.formats.parse.motion import NO_MOTION, MotionFacts
from styleid.media.formats.raster import Raster


@dataclass(frozen=True)
class MovingPart:
    """Hold the video of a motion photo or a Live Photo, an MP4 or QuickTime file, and how it belongs to the picture.

    beside: the name of the video's own file, "" where it lies in the photo's.
    """

    data: bytes
    motion: MotionFacts = NO_MOTION
    beside: str = ""


@dataclass(frozen=True, eq=False)
class Decoded:
    """Hold a decoded file.

    raster: its pixels as stored. kept: the metadata that may follow them. encoding: the codec's own frozen dataclass
    of how the file was compressed, so that it can be written the same way. notes: what a user should know. moving: the
    video that belongs to it.
    """

    raster: Raster
    kept: Kept
    encoding: Any
    notes: tuple[str, ...] = ()
    moving: MovingPart | None = None


def check_size(width: int, height: int, max_pixels: int) -> None:
    """Raise `BadFileError` for a header of no pixels or of more than max_pixels, before anything is decoded."""
    if width < 1 or height < 1:
        raise BadFileError(f"its header announces {width} x {height} pixels, which is no picture")
    if width * height > max_pixels:
        raise TooManyPixelsError(
            f"its header announces {width} x {height} = {width * height / 1e6:,.0f} million pixels, over the limit of "
            f"{max_pixels / 1e6:,.0f} million. Raise max_pixels if the file is trustworthy and memory suffices"
        )


def kept_profile(icc_profile: bytes | None, raster: Raster, facts: ExifFacts) -> tuple[bytes | None, tuple[str, ...]]:
    """Return the profile to keep for a raster, and a note where one is left out or put in."""
    space = raster.layout.space
    cleaned = clean_profile(icc_profile, space)
    if icc_profile and cleaned is None:
        return None, ("the colour profile is damaged or for another colour space and was left out",)
    if cleaned is None and facts.adobe_rgb and space == b"RGB ":
        return adobe_rgb_profile(), (
            "Adobe RGB was named in the EXIF only: an equal colour profile is embedded instead",
        )
    return cleaned, ()
