"""Decide which files may be copied unchanged: only those that are known to be harmless.

Text with a usual ending is copied if no picture is found in it, in any encoding. Label maps are copied if they consist
of areas and show no face. Everything else is withheld and named, unless the user names its ending.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import PurePosixPath

import numpy as np
from PIL import Image

from styleid.media.audit import find_leftovers
from styleid.media.containers.errors import BadFileError
from styleid.media.formats.parse.sniff import IMAGE_SUFFIXES, sniff
from styleid.media.formats.parse.unread_kinds import HEAD_BYTES, Shows, UnreadKind, kind_of, unread_kind
from styleid.media.storage.remote import Place, RemotePath
from styleid.media.text import find_picture, plain_text
from styleid.types import ImageRGB

MOST_BYTES = 64 << 20
"""Largest file or member that is checked, in bytes; larger ones are withheld."""

_TEXT = (
    "txt text md rst log csv tsv json jsn jsonl ndjson geojson xml xmp yaml yml toml ini cfg conf names data list lst "
    "cls cls2 label labels class id index inx count score caption captions prompt transcript lang key url license "
    "licence readme authors bib cff md5 sha1 sha256 sha512 sum py ipynb sh srt vtt dtd xsd"
)
_TEXT_ENDINGS = frozenset(_TEXT.split())
"""Endings of text in data sets and beside photos. A name without an ending, such as README, is text, too."""

_OTHER_NAME = UnreadKind("a picture under another name", Shows.ANYTHING)

_MOST_LEVELS = 64
_FLAT = 0.85


def named_endings(carry: Iterable[str]) -> frozenset[str]:
    """Return the endings in texts such as `seg.png,npy` or `.jxl`, in lower case and without the leading dot."""
    return frozenset(word.strip().lstrip(".").lower() for given in carry for word in given.split(",") if word.strip())


def has_ending(name: str, endings: Collection[str]) -> bool:
    """Return whether a file's name has one of the endings."""
    lower = name.lower()
    return any(lower.endswith("." + ending) for ending in endings)


def is_photo_name(name: str) -> bool:
    """Return whether a file's ending is that of a photo format that is read."""
    return PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES


def is_picture(head: bytes) -> bool:
    """Return whether a file that begins with these bytes is a photo of a format that is read."""
    try:
        sniff(head)
    except BadFileError:
        return False
    return True


def why_withheld(name: str, data: bytes) -> str:
    """Return why a file must not be copied unchanged; empty if it is known to be harmless.

    Args:
        name: Its name, whose ending must be one of text.
        data: Its whole content.
    """
    if not data:
        return ""
    text = plain_text(data)
    if text is None:
        return _called(data[:HEAD_BYTES])
    if reason := find_picture(text):
        return reason
    if not is_named_text(name):
        return f"files that end in {PurePosixPath(name).suffix} are not known to be harmless"
    return ""


def is_named_text(name: str) -> bool:
    """Return whether a file has an ending of text, or none."""
    ending = PurePosixPath(name).suffix.lower().lstrip(".")
    return not ending or ending in _TEXT_ENDINGS


def why_too_large(size: int) -> str:
    """Return why a file of this size, in bytes, must not be copied unchanged; empty if it can be checked."""
    return f"it is larger than {MOST_BYTES >> 20} MiB, so it is not checked" if size > MOST_BYTES else ""


def with_passthrough_option(reason: str, ending: str) -> str:
    """Add to a reason the option that copies files of an ending anyway."""
    ending = ending.lstrip(".").lower()
    return f"{reason}. `carry={ending}` copies it without a check" if ending else reason


def _called(head: bytes) -> str:
    if is_picture(head):
        return "it is a picture, whatever its name says"
    if (kind := kind_of(head)) is not None:
        return f"it is {kind.name}, which may show persons"
    return "it is not plain text in UTF-8, so it may contain a picture"


def is_panoptic(data: bytes, ids: Collection[int]) -> bool:
    """Return whether a PNG is a panoptic map of COCO that contains only the given segments.

    A pixel's segment is R + 256 G + 65536 B, 0 for none. At least 85 % of horizontal neighbours must be of one segment,
    and the file must contain nothing but pixels.
    """
    try:
        with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
            if image.mode != "RGB":
                return False
            pixels = np.asarray(image).astype(np.uint32)
    except Exception:  # decoders raise whatever they please on damaged bytes
        return False
    values = pixels @ np.array([1, 256, 65536], np.uint32)
    if not {int(one) for one in np.unique(values)} <= {0, *ids}:
        return False
    return _is_flat(values) and not find_leftovers(data, "strip")


def is_label_map(data: bytes) -> bool:
    """Return whether a file is a PNG of few large areas with one value each, as segmentations are.

    It must have one channel, at most 64 values, at least 85 % equal horizontal neighbours, and contain nothing but
    pixels.
    """
    try:
        with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
            if image.mode not in ("P", "L", "1", "I;16"):
                return False
            values = np.asarray(image)
    except Exception:  # decoders raise whatever they please on damaged bytes
        return False
    if len(np.unique(values)) > _MOST_LEVELS:
        return False
    return _is_flat(values) and not find_leftovers(data, "strip")


def _is_flat(values: np.ndarray) -> bool:
    return values.shape[1] < 2 or float((values[:, 1:] == values[:, :-1]).mean()) >= _FLAT


def face_in_map(data: bytes, shows_face: Callable[[ImageRGB], bool]) -> str:
    """Return why a label map must not be copied; empty if no face is found in it, whatever its colours.

    Args:
        data: A PNG that `is_label_map` or `is_panoptic` accepts.
        shows_face: Returns whether a face is found in an RGB picture.
    """
    try:
        views = list(_views_of_map(data))
    except Exception:  # decoders raise whatever they please on damaged bytes
        return "it is among the label maps, but cannot be decoded"
    return "it is among the label maps, but a face is found in it" if any(map(shows_face, views)) else ""


def _views_of_map(data: bytes) -> Iterator[ImageRGB]:
    """Yield a map in its colours, and in greys: by the value, and by the rank of the value."""
    with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
        values = np.asarray(image)
        if image.mode != "I;16":
            yield np.asarray(image.convert("RGB"))
    if values.ndim > 2:
        values = values.astype(np.uint32) @ np.array([1, 256, 65536], np.uint32)
    levels, places = np.unique(values, return_inverse=True)
    low, high = int(levels.min()), int(levels.max())
    by_size = (values.astype(np.float64) - low) * (255 / max(1, high - low))
    by_order = places.reshape(values.shape) * (255 / max(1, len(levels) - 1))
    yield np.repeat(by_size.astype(np.uint8)[..., None], 3, 2)
    if not np.allclose(by_size, by_order, atol=1):
        yield np.repeat(by_order.astype(np.uint8)[..., None], 3, 2)


def unread_kind_of(path: Place) -> UnreadKind | None:
    """Return the kind of a picture or video whose format is not read; None for other files.

    For a file at a URL, and for one with an ending of text, only the name is considered.
    """
    if isinstance(path, RemotePath) or (path.suffix and is_named_text(path.name)):
        return unread_kind(path.name, b"")
    try:
        with path.open("rb") as opened:
            head = opened.read(HEAD_BYTES)
    except OSError:
        head = b""
    return unread_kind(path.name, head) or (_OTHER_NAME if is_picture(head) else None)


def why_unread(kind: UnreadKind, ending: str) -> str:
    """Return why a picture whose format is not read was left out, and what to do."""
    reason = f"it is {kind.name}, which is not read: convert it to PNG, TIFF or JPEG first"
    return with_passthrough_option(reason, ending)


def counted_as(kind: UnreadKind, ending: str) -> str:
    """Return the name under which files of a kind and ending are counted."""
    what = kind.name.removeprefix("a ").removeprefix("an ")
    return f"{what} ({ending.lower() or 'no ending'})"


def list_unread(unread: Counter[str]) -> str:
    """Return one line with the number of files whose formats are not read, by kind; empty if there are none."""
    kinds = ", ".join(f"{count} {what}" for what, count in sorted(unread.items()))
    files = "1 file" if unread.total() == 1 else f"{unread.total()} files"
    return f"{files} of kinds that are not read: {kinds}" if unread else ""
