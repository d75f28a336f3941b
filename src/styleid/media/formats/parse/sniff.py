"""Recognise the format of a picture file by its first bytes, never by its name."""

from __future__ import annotations

from styleid.media.containers.errors import BadFileError
from styleid.media.containers.png import PNG_SIGNATURE
from styleid.media.formats.parse.jxl import BARE_SIGNATURE, JXL_SIGNATURE
from styleid.media.formats.parse.unread_kinds import HEAD_BYTES, kind_of

SUFFIXES: dict[str, tuple[str, ...]] = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"),
    "PNG": (".png",),
    "WebP": (".webp",),
    "TIFF": (".tif", ".tiff"),
    "BMP": (".bmp", ".dib"),
    "GIF": (".gif",),
    "AVIF": (".avif",),
    "HEIC": (".heic", ".heif", ".hif"),
    "JPEG XL": (".jxl",),
}
"""Formats that can be read and written, with their suffixes."""

IMAGE_SUFFIXES = frozenset(s for group in SUFFIXES.values() for s in group)
"""Suffixes, in lower case, by which image files are found in folders."""

_MAGICS = (
    (b"\xff\xd8\xff", "JPEG"),
    (PNG_SIGNATURE, "PNG"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (JXL_SIGNATURE, "JPEG XL"),
    (BARE_SIGNATURE, "JPEG XL"),
)
_AVIF_BRANDS = (b"avif", b"avis")
_HEIC_BRANDS = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1")
_HEAD_BYTES = 1 << 12


def sniff(data: bytes) -> str:
    """Return the format of a picture file, a key of `SUFFIXES`.

    Args:
        data: The file; its first 4,096 bytes are enough.

    Raises:
        BadFileError: It is empty or of another kind. The message says what it is, if that is recognised.
    """
    if not data:
        raise BadFileError("the file is empty (0 bytes). Fetch or copy it again")
    for magic, kind in _MAGICS:
        if data.startswith(magic):
            return kind
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WebP"
    if data[:2] == b"BM" and len(data) > 26 and data[15:18] == b"\0\0\0":
        return "BMP"
    if data[4:8] == b"ftyp":
        return _iso_kind(data)
    raise BadFileError(
        f"it is not a picture of a supported format: {_described(data)}. Supported are {', '.join(SUFFIXES)}"
    )


def _iso_kind(data: bytes) -> str:
    brands = data[8 : int.from_bytes(data[:4], "big")] if data[3] <= 128 and data[:3] == bytes(3) else data[8:12]
    if any(brand in brands for brand in _AVIF_BRANDS):
        return "AVIF"
    if any(brand in brands for brand in _HEIC_BRANDS):
        return "AVIF" if b"av01" in data[:_HEAD_BYTES] else "HEIC"  # mif1 alone may be either
    if b"crx " in brands:
        raise BadFileError("it is a camera's raw file. Develop it to TIFF or JPEG first")
    raise BadFileError("it is a video, not a photo")


def _described(data: bytes) -> str:
    if (kind := kind_of(data[:HEAD_BYTES])) is not None:
        return f"it is {kind.name}"
    if data[:4] == b"RIFF":
        return f"it is a RIFF file of kind {data[8:12].decode('latin-1')!r}"
    if not data[:4096].strip(b"\0"):
        return "it consists of zeros, as after a broken download or a disk error"
    head = data[:512].lstrip(b"\xef\xbb\xbf \t\r\n")
    if head[:1] == b"<":
        return "it is a web page or XML (SVG)"
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        text = head[: error.start].decode("utf-8") if error.start >= len(head) - 3 else ""
    if text and all(c.isprintable() or c in "\t\r\n" for c in text):
        return f"it is text ({text.splitlines()[0][:30]!r})"
    return f"it begins with the bytes {data[:8].hex(' ')}"
