"""Encode a photo with the mark that its faces call for, and say what was done."""

from __future__ import annotations

from typing import NamedTuple

from styleid.media.formats.parse.exif import MetadataMode
from styleid.media.formats.raster import ImageRGB, Mask
from styleid.media.image import UNMARKED_FORMATS, Photo, encode_photo
from styleid.media.provenance import MarkOptions


class Encoded(NamedTuple):
    """Hold an encoded photo. mark: what it was marked with, "" where it was not. notes: for the journal."""

    data: bytes
    mark: str = ""
    notes: tuple[str, ...] = ()


def encode_marked(
    photo: Photo,
    image_rgb: ImageRGB,
    region_mask: Mask,
    metadata: MetadataMode,
    options: MarkOptions,
    *,
    generated: bool,
    changed: bool,
) -> Encoded:
    """Encode a photo as `encode_photo` does, marked where the options say so.

    Args:
        photo: The source.
        image_rgb: uint8 (h, w, 3), upright, the new pixels.
        region_mask: bool (h, w), where they count.
        metadata: What else may stay.
        options: Which mark, and for which files.
        generated: Whether the photo has a new face. One that says so of itself already counts as if it had.
        changed: Whether any of its faces was changed.

    Raises:
        ImageError: The photo cannot be encoded.
    """
    wanted = options.applies(generated=generated or photo.declared, changed=changed)
    if wanted and photo.format in UNMARKED_FORMATS:
        note = f"{photo.format} has no place for a mark: this file does not say that it holds generated faces"
        return Encoded(encode_photo(photo, image_rgb, region_mask, metadata), notes=(note,))
    data = encode_photo(photo, image_rgb, region_mask, metadata, marked=wanted)
    return Encoded(data, options.mark if wanted else "")
