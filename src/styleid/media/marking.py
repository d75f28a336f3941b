"""Encode a photo and mark it as generated content where the options ask for it."""

from __future__ import annotations

from typing import NamedTuple

from styleid.errors import ImageError
from styleid.media.audit import find_leftovers
from styleid.media.formats.jpeg import with_room
from styleid.media.formats.parse.exif import MetadataMode
from styleid.media.image import UNMARKED_FORMATS, Photo, encode_photo
from styleid.media.provenance import MarkOptions
from styleid.media.signing import SigningError, sign_bytes
from styleid.types import ImageRGB, MaskArray


class Encoded(NamedTuple):
    """An encoded photo: the file's bytes, the mark that it holds ("" for none), and notes for the journal."""

    data: bytes
    mark: str = ""
    notes: tuple[str, ...] = ()


def encode_marked(
    photo: Photo,
    image_rgb: ImageRGB,
    region_mask: MaskArray,
    metadata: MetadataMode,
    options: MarkOptions,
    *,
    generated: bool,
    changed: bool,
    faces_mask: MaskArray | None = None,
) -> Encoded:
    """Encode a photo like `encode_photo`, with a mark of generated content if the options ask for it.

    Args:
        photo: The source.
        image_rgb: uint8 (h, w, 3), upright, the new pixels.
        region_mask: bool (h, w), where pixels change.
        metadata: "strip" or "safe"; see `encode_photo`.
        options: Which mark to write, and into which files.
        generated: Whether the photo has a new face. A source that is already declared as generated counts as if it had.
        changed: Whether any face was changed.
        faces_mask: See `encode_photo`.

    Returns:
        The encoded photo. If a mark is wanted but the format cannot hold one, `notes` says so.

    Raises:
        ImageError: The photo cannot be encoded or signed.
        MissingDependencyError: The mark is "c2pa" and c2pa-python is not installed.
        OptionError: The mark is "c2pa" and its certificate or key cannot be read.
    """
    wanted = options.applies(generated=generated or photo.declared, changed=changed)
    if not wanted or photo.format in UNMARKED_FORMATS:
        notes = (f"{photo.format} cannot hold a mark: the file does not say that it contains generated faces",)
        data = encode_photo(photo, image_rgb, region_mask, metadata, faces_mask=faces_mask)
        return Encoded(data, notes=notes if wanted else ())
    data = encode_photo(photo, image_rgb, region_mask, metadata, faces_mask=faces_mask, marked=True)
    if options.mark != "c2pa":
        return Encoded(data, options.mark)
    return Encoded(_signed(photo, data, metadata, options), options.mark)


def _signed(photo: Photo, data: bytes, metadata: MetadataMode, options: MarkOptions) -> bytes:
    try:
        signed = sign_bytes(data, photo.format, options)
        if photo.gain_map is not None:
            signed = sign_bytes(with_room(data, len(signed) - len(data)), photo.format, options)
    except SigningError as error:
        raise ImageError(photo.name, f"it cannot be signed ({error})") from error
    if leftovers := find_leftovers(signed, metadata):
        raise ImageError(photo.name, f"the signed output would contain disallowed metadata: {'; '.join(leftovers)}")
    return signed
