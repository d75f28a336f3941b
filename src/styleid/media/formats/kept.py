"""The metadata of a photo that is kept, and the EXIF block that is built from it."""

from __future__ import annotations

from dataclasses import dataclass

from styleid.media.formats.ifd_writer import build_directory
from styleid.media.formats.parse.exif import Density, MetadataMode
from styleid.media.formats.parse.ifd import EXIF_POINTER, LONG, ORIENTATION, SHORT, Field


@dataclass(frozen=True)
class Kept:
    """All metadata that may be written with the pixels.

    Attributes:
        orientation: EXIF orientation, 1 to 8.
        density: Pixel density, None if unknown.
        icc_profile: Colour profile, already rebuilt by `styleid.media.formats.icc_writer`.
        exposure: Fields of `EXPOSURE_TAGS`; written only in mode "safe".
        mark: The XMP packet of `styleid.media.provenance`, b"" if the picture is not marked. Never the source's XMP.
    """

    orientation: int = 1
    density: Density | None = None
    icc_profile: bytes | None = None
    exposure: tuple[Field, ...] = ()
    mark: bytes = b""

    def exif(self, metadata: MetadataMode, *, orientation: bool = True) -> bytes:
        """Return an EXIF block without its prefix, or b"" if there is nothing to write.

        Args:
            metadata: "strip" writes only the orientation; "safe" also writes the exposure fields.
            orientation: Whether to write the orientation; formats that store it elsewhere pass False.
        """
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
