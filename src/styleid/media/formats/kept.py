"""What is kept of a photo's metadata, and the EXIF block that is built from it."""

from __future__ import annotations

from dataclasses import dataclass

from styleid.media.formats.ifd_writer import build_directory
from styleid.media.formats.parse.exif import Density, MetadataMode
from styleid.media.formats.parse.ifd import EXIF_POINTER, LONG, ORIENTATION, SHORT, Field


@dataclass(frozen=True)
class Kept:
    """Hold all that may follow the pixels into the output.

    icc_profile: already rebuilt by `styleid.media.formats.parse.icc`. exposure: fields of `EXPOSURE_TAGS`, written
    under "safe" only.
    mark: the XMP packet of `styleid.media.provenance`, or b"" where the picture is not marked; never the source's XMP.
    """

    orientation: int = 1
    density: Density | None = None
    icc_profile: bytes | None = None
    exposure: tuple[Field, ...] = ()
    mark: bytes = b""

    def exif(self, metadata: MetadataMode, *, orientation: bool = True) -> bytes:
        """Return an EXIF block without its prefix, or b"" where there is nothing to say."""
        exposure = self.exposure if metadata == "safe" else ()
        fields = [Field(ORIENTATION, SHORT, (self.orientation,))] if orientation and self.orientation != 1 else []
        if not fields and not exposure:
            return b""
        header = b"II*\0\x08\0\0\0"
        if not exposure:
            return header + build_directory(fields, 8)
        length = len(build_directory([*fields, Field(EXIF_POINTER, LONG, (0,))], 8))
        first = build_directory([*fields, Field(EXIF_POINTER, LONG, (8 + length,))], 8)
        return header + first + build_directory(exposure, 8 + length)
