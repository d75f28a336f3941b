"""What may be carried through unchanged: nothing that shows a person.

Annotations and label maps are copied byte for byte. Each is looked at first, so that no photo slips through as one.
"""

from __future__ import annotations

import io
import re
from collections.abc import Collection

import numpy as np
from PIL import Image

from styleid.media.audit import find_leftovers
from styleid.media.containers import BadFileError
from styleid.media.formats.parse.sniff import sniff

_IN_BASE64 = tuple(
    (start, re.compile(re.escape(start) + rest))
    for start, rest in (
        (b"/9j/", rb"[\w+/\\]{24}"),
        (b"/9j\\/", rb"[\w+/\\]{24}"),
        (b"iVBORw0KGgo", b""),
        (b"UklGR", rb"[\w+/\\]{6,10}XRUJQ"),
        (b"data:image/", b""),
    )
)
_MOVING = ((4, b"ftyp"), (0, b"\x1aE\xdf\xa3"), (8, b"AVI "), (0, b"FLV\x01"), (0, b"OggS"), (0, b"\0\0\x01\xba"))
_ARCHIVES = (
    (0, b"PK\x03\x04"),
    (0, b"\x1f\x8b"),
    (0, b"BZh"),
    (0, b"\xfd7zXZ"),
    (0, b"(\xb5/\xfd"),
    (0, b"7z\xbc\xaf"),
    (0, b"Rar!"),
    (0, b"%PDF"),
    (257, b"ustar"),
)
_MOST_LEVELS = 64
_FLAT = 0.85


def is_picture(head: bytes) -> bool:
    """Say whether a file that begins so is a picture that can be anonymised."""
    try:
        sniff(head)
    except BadFileError:
        return False
    return True


def hidden_picture(data: bytes) -> str:
    """Return why a file may not be carried unchanged, or "" where it may.

    data: the whole file, or at least its first 512 bytes. Pictures, videos and archives may not, nor text that holds a
    picture in base64.
    """
    if is_picture(data):
        return "it is a picture, whatever its name says"
    for kind, magics in (("a video or sound", _MOVING), ("an archive", _ARCHIVES)):
        if any(data[at : at + len(magic)] == magic for at, magic in magics):
            return f"it is {kind}, which may show persons"
    if _holds_base64(data):
        return "it holds a picture in base64, which may show persons"
    return ""


def _holds_base64(data: bytes) -> bool:
    """Say whether a JPEG, PNG or WebP begins somewhere in base64. One pattern over all bytes would be far slower."""
    for start, pattern in _IN_BASE64:
        at = data.find(start)
        while at >= 0:
            if pattern.match(data, at):
                return True
            at = data.find(start, at + 1)
    return False


def is_panoptic(data: bytes, ids: Collection[int]) -> bool:
    """Say whether a PNG shows nothing but the segments ids, as COCO's panoptic maps do: R + 256 G + 65536 B, 0 none."""
    try:
        with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
            if image.mode != "RGB":
                return False
            pixels = np.asarray(image).astype(np.uint32)
    except Exception:  # decoders raise whatever they please on damaged bytes
        return False
    shown = np.unique(pixels @ np.array([1, 256, 65536], np.uint32))
    return {int(one) for one in shown} <= {0, *ids} and not find_leftovers(data, "strip")


def is_label_map(data: bytes) -> bool:
    """Say whether a file is a PNG of a few large areas with one value each, as segmentations are.

    At most 64 values of one channel, six of seven neighbours the same, and nothing beside the pixels.
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
    same = float((values[:, 1:] == values[:, :-1]).mean()) if values.shape[1] > 1 else 1.0
    return same >= _FLAT and not find_leftovers(data, "strip")
