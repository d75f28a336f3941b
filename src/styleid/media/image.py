"""Read photos, and write them in the format, depth, profile, orientation and quality of the source.

Convention
----------
`Photo.image_rgb` is uint8 (h, w, 3), **upright** (EXIF orientation applied), in the file's own RGB colour space (CMYK
is converted to sRGB), without alpha. Colours that use a small part of their range, such as 10 bits stored in 16, are
stretched. The content of a file decides its format, not its name. Arrays of a `Photo` are read-only: copy them before
you change them.

Lossless formats (PNG, lossless WebP, lossless JPEG XL, TIFF, BMP, GIF) keep every pixel outside the region
bit-identical at the native depth, alpha included. JPEG is encoded with the source's quantisation tables and
subsampling, lossy WebP, AVIF and HEIC at the source's quantiser, lossy JPEG XL at the source's size; pixels outside the
region come from the source, never from the given image. Size and orientation as stored do not change, so annotations
remain valid.
"""

from __future__ import annotations

import errno
import stat
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from PIL import ImageFile

from styleid.errors import ImageError, MissingDependencyError
from styleid.media.audit import find_leftovers
from styleid.media.containers.errors import BadFileError
from styleid.media.formats import avif, bmp, gif, heic, jpeg, jxl, png, tiff, tiff_writer, webp
from styleid.media.formats.channels import hide_in_channel
from styleid.media.formats.decoded import Decoded, MovingPart
from styleid.media.formats.dither import repaint_dithered
from styleid.media.formats.gain_map import GainMap
from styleid.media.formats.kept import Kept
from styleid.media.formats.parse.exif import MetadataMode
from styleid.media.formats.parse.sniff import SUFFIXES, sniff
from styleid.media.formats.raster import Layout, Raster, repaint, stored, upright, view_rgb, with_span
from styleid.media.formats.strip import Strip
from styleid.media.provenance import PACKET, declares_generated
from styleid.media.storage.remote import Place, RemotePath
from styleid.types import ImageRGB, MaskArray

MAX_PIXELS = 300_000_000
"""Default limit for decoding: larger than any camera's picture, small enough for a workstation's memory."""


class _Repaint(Protocol):
    def __call__(
        self, raster: Raster, old_rgb: ImageRGB, new_rgb: ImageRGB, mask: MaskArray, icc_profile: bytes | None = None
    ) -> Raster: ...


class _Codec(NamedTuple):
    """The functions of a picture format.

    decode: content and pixel limit -> picture. encode: pixels, what is kept, encoding, metadata mode -> content.
    repaint: puts new pixels into the stored ones, for example in the colours of a palette. redraw: changes what the
    encoding holds besides the pixels, such as a gain map, after pixels have changed.
    """

    decode: Callable[[bytes, int], Decoded]
    encode: Callable[[Raster, Kept, Any, MetadataMode], bytes]
    repaint: _Repaint = repaint
    redraw: Callable[[Any, Raster, MaskArray], Any] = lambda encoding, raster, changed: encoding


UNMARKED_FORMATS = frozenset({"BMP"})
"""Formats that cannot hold a mark of generated content."""

_CODECS = {
    "JPEG": _Codec(jpeg.decode, jpeg.encode, redraw=jpeg.redraw),
    "PNG": _Codec(png.decode, png.encode),
    "WebP": _Codec(webp.decode, webp.encode),
    "TIFF": _Codec(tiff.decode, tiff_writer.encode),
    "BMP": _Codec(bmp.decode, bmp.encode),
    "GIF": _Codec(gif.decode, gif.encode, gif.repaint),
    "AVIF": _Codec(avif.decode, avif.encode),
    "HEIC": _Codec(heic.decode, heic.encode),
    "JPEG XL": _Codec(jxl.decode, jxl.encode),
}


@dataclass(frozen=True, eq=False)
class Photo:
    """A decoded photo with all that is needed to encode it again.

    Attributes:
        name: Name of the file, for messages.
        image_rgb: uint8 (h, w, 3), upright, read-only.
        format: A key of `SUFFIXES`.
        raster: The pixels as stored.
        kept: The metadata that may be written with them.
        encoding: How the file was compressed; the codec's own type.
        notes: What the user should know about this file, for the journal.
        declared: Whether the file says that it was generated in part or in whole.
        dithered: Whether image_rgb is a smoothed picture of few colours; new pixels are then dithered when written.
        moving: The video, if the source is a motion photo. It is never written; see `with_moving`.
    """

    name: str
    image_rgb: ImageRGB
    format: str
    raster: Raster
    kept: Kept
    encoding: Any
    notes: tuple[str, ...] = ()
    declared: bool = False
    dithered: bool = False
    moving: MovingPart | None = None

    @property
    def orientation(self) -> int:
        """EXIF orientation, 1 to 8."""
        return self.kept.orientation

    @property
    def strip(self) -> Strip | None:
        """Layout of an animation's frames in `image_rgb` and `raster`; None for a still picture."""
        return self.encoding.strip if isinstance(self.encoding, webp.WebpAnimation) else None

    @property
    def icc_profile(self) -> bytes | None:
        """Colour profile as it is written: only its numbers and well-known names; None if there is none."""
        return self.kept.icc_profile

    @property
    def is_grey(self) -> bool:
        """Whether the file has one grey channel, with or without alpha."""
        return self.raster.layout in (Layout.GREY, Layout.GREY_ALPHA)

    def with_moving(self, video: bytes) -> Photo:
        """Return a copy of a motion photo that is encoded with the given video (an MP4 file)."""
        assert self.moving is not None, "only motion photos have a video"
        return replace(self, encoding=replace(self.encoding, moving=replace(self.moving, data=video)))

    def seen_like(self, other: Photo) -> ImageRGB:
        """Return the picture, uint8 (h, w, 3), stretched like another photo, so that the two can be compared.

        It is not stretched if the two differ in depth or if only one has a palette.
        """
        alike = self.raster.bits == other.raster.bits and self._has_palette == other._has_palette
        raster = replace(self.raster, span=other.raster.span if alike else None)
        return upright(view_rgb(raster, self.icc_profile), self.orientation)

    @property
    def gain_map(self) -> GainMap | None:
        """Gain map of an HDR JPEG as stored, None if there is none. HDR displays brighten the picture by it."""
        return self.encoding.gain_map if isinstance(self.encoding, jpeg.JpegEncoding) else None

    @property
    def _has_palette(self) -> bool:
        return self.raster.palette is not None


def read_photo(path: Place, *, max_pixels: int = MAX_PIXELS) -> Photo:
    """Read and decode a photo.

    Args:
        path: A local file or a URL.
        max_pixels: Limit for width * height in the file's header; a larger picture is refused before decoding.

    Raises:
        ImageError: The file is missing, no regular file, not readable, not of a known format, damaged, truncated or
            too large, needs a package that is not installed, or is an animation other than WebP.
    """
    path = path if isinstance(path, RemotePath) else Path(path)
    return read_photo_bytes(photo_bytes(path), str(path), max_pixels=max_pixels)


def photo_bytes(path: Place) -> bytes:
    """Read the bytes of a photo.

    Raises:
        ImageError: The file is missing, no regular file or not readable, or does not begin like a known picture
            format (checked for local files only).
    """
    try:
        return path.read_bytes() if isinstance(path, RemotePath) else _file_bytes(path)
    except OSError as error:
        raise ImageError(str(path), _os_reason(path, error)) from error
    except BadFileError as error:
        raise ImageError(str(path), str(error)) from error


def read_photo_bytes(data: bytes, name: str, *, max_pixels: int = MAX_PIXELS) -> Photo:
    """Decode a photo from its bytes.

    Args:
        data: The whole file.
        name: Name of the file, for messages and for a note about a wrong suffix.
        max_pixels: See `read_photo`.

    Raises:
        ImageError: See `read_photo`.
    """
    if ImageFile.LOAD_TRUNCATED_IMAGES:
        raise ImageError(name, "PIL.ImageFile.LOAD_TRUNCATED_IMAGES is set in this process, so damaged files would "
                         "not be noticed. Set it to False")  # fmt: skip
    try:
        kind = sniff(data)
        decoded = _CODECS[kind].decode(data, max_pixels)
        raster = with_span(decoded.raster)
    except (BadFileError, MissingDependencyError) as error:
        raise ImageError(name, str(error)) from error
    except MemoryError as error:
        raise ImageError(name, "it does not fit into this machine's memory") from error
    except Exception as error:  # decoders raise errors of any type on damaged files
        raise ImageError(name, f"it cannot be decoded: the file is damaged or cut short ({error})") from error
    notes = (*_name_notes(kind, name), *decoded.notes)
    image = upright(view_rgb(raster, decoded.kept.icc_profile), decoded.kept.orientation)
    image.setflags(write=False)
    declared = declares_generated(data)
    return Photo(name, image, kind, raster, decoded.kept, decoded.encoding, notes, declared, moving=decoded.moving)


def encode_photo(
    photo: Photo,
    image_rgb: ImageRGB,
    region_mask: MaskArray,
    metadata: MetadataMode = "strip",
    *,
    faces_mask: MaskArray | None = None,
    marked: bool = False,
) -> bytes:
    """Encode a photo with new pixels, in the format and quality of its source.

    Args:
        photo: The source.
        image_rgb: uint8 (h, w, 3), upright. Used only where region_mask is true.
        region_mask: bool (h, w), where pixels change.
        metadata: "strip" keeps orientation, pixel density and colour profile; "safe" also keeps exposure fields.
        faces_mask: bool (h, w), further areas of faces. Inside either mask, an extra channel (alpha or other) that may
            show a face is made flat, and the gain map is redrawn. Alpha that is only a matte is not changed. Where both
            masks are true, every dot of a dithered picture is set anew.
        marked: Write the mark of generated content, if the format can hold it.

    Returns:
        The encoded file. Its metadata has been checked against the allow-list.

    Raises:
        ValueError: An array has the wrong shape or type, or metadata is unknown.
        ImageError: The format cannot hold the result, encoding fails, or the result contains anything outside the
            allow-list.
    """
    if image_rgb.shape != photo.image_rgb.shape or image_rgb.dtype != np.uint8:
        raise ValueError(f"image_rgb must be uint8 {photo.image_rgb.shape}, not {image_rgb.dtype} {image_rgb.shape}.")
    if region_mask.shape != photo.image_rgb.shape[:2] or region_mask.dtype != np.bool_:
        raise ValueError(f"region_mask must be bool {photo.image_rgb.shape[:2]}, not {region_mask.dtype} "
                         f"{region_mask.shape}.")  # fmt: skip
    if metadata not in ("strip", "safe"):
        raise ValueError(f'metadata must be "strip" or "safe", not {metadata!r}.')
    try:
        hidden = region_mask if faces_mask is None else region_mask | faces_mask
        raster = _without_hidden(photo, hidden)
        if region_mask.any():
            raster = _repainted(photo, raster, image_rgb, region_mask, faces_mask)
        kept = replace(photo.kept, mark=PACKET) if marked else photo.kept
        codec = _CODECS[photo.format]
        encoding = codec.redraw(photo.encoding, raster, stored(hidden, photo.orientation))
        data = codec.encode(raster, kept, encoding, metadata)
    except BadFileError as error:
        raise ImageError(photo.name, str(error)) from error
    except (OSError, RuntimeError, ValueError, MemoryError) as error:
        raise ImageError(photo.name, f"its new pixels cannot be encoded as {photo.format} ({error})") from error
    if leftovers := find_leftovers(data, metadata):
        raise ImageError(photo.name, f"the output would contain disallowed metadata: {'; '.join(leftovers)}")
    return data


def _without_hidden(photo: Photo, mask: MaskArray) -> Raster:
    """Return the raster with faces removed from its extra channel, if it has one."""
    raster = hide_in_channel(photo.raster, stored(mask, photo.orientation))
    if photo.format == "GIF" and raster.palette is None:
        raise BadFileError("its transparent pixels may show a face, which cannot be hidden in a GIF. Save it as PNG "
                           "first")  # fmt: skip
    return raster


def _repainted(photo: Photo, raster: Raster, image_rgb: ImageRGB, mask: MaskArray, faces: MaskArray | None) -> Raster:
    old, new, where = (stored(a, photo.orientation) for a in (photo.image_rgb, image_rgb, mask))
    if photo.dithered:
        whole = where if faces is None else stored(faces, photo.orientation) & where
        if (dithered := repaint_dithered(raster, old, new, where, whole)) is not None:
            return dithered
    return _CODECS[photo.format].repaint(raster, old, new, where, icc_profile=photo.icc_profile)


def _file_bytes(path: Path) -> bytes:
    """Read a regular file after checking its first bytes, so that a long video is not read only to be refused.

    Raises OSError for anything else than a regular file: reading a pipe could block forever.
    """
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "is a folder", str(path))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "is no regular file", str(path))
    with path.open("rb") as file:
        sniff(file.read(4096))
        file.seek(0)
        return file.read()


def _os_reason(path: Place, error: OSError) -> str:
    if isinstance(path, RemotePath) and error.errno != errno.ENOENT:
        return f"it cannot be read ({error.strerror})"  # storage services explain errors better than errno does
    if error.errno == errno.ENOENT and isinstance(path, Path) and path.is_symlink():
        return "it is a link to a file that does not exist"
    reasons = {
        errno.ENOENT: "there is no such file",
        errno.EISDIR: "it is a folder, not a file",
        errno.EINVAL: "it is a device, pipe or socket, not a file",
        errno.ELOOP: "it is a link that points to itself",
        errno.EACCES: "reading it is not permitted. Check the owner and the mode of the file and its folders",
        errno.ENAMETOOLONG: "its name is too long for this file system",
        errno.EIO: "the disk reports an error when it is read",
    }
    return reasons.get(error.errno or 0, f"it cannot be read ({error.strerror or error})")


def _name_notes(kind: str, name: str) -> tuple[str, ...]:
    suffix = Path(name).suffix.lower()
    if not suffix or suffix in SUFFIXES[kind]:
        return ()
    return (f"it is named {suffix} but contains {kind}: written as {kind} under the same name",)
