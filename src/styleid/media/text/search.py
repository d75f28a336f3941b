"""Decide whether a file is plain text, and whether the text contains a picture."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from urllib.parse import unquote_to_bytes

from styleid.media.text.encoded import find_encoded
from styleid.media.text.masks import set_masks_aside
from styleid.media.text.numbers import find_numbers

_DECLARED = re.compile(
    rb"<\?xml[^>]{0,80}encoding=[\"'](utf-?8|us-ascii|ascii|gb2312|gbk|gb18030|big5|shift[-_]jis|euc-jp|euc-kr|"
    rb"iso-8859-\d{1,2}|windows-125\d|koi8-r|latin-?1)[\"']",
    re.IGNORECASE,
)
_CONTROLS = bytes({*range(32), 127} - set(b"\t\n\r\f"))
_STRAY = re.compile(rb"\xc2[\x80-\x9f]|\\u00[0189][0-9a-fA-F]|\\[xX][0-9a-fA-F]{2}|(?:\\[0-3][0-7]{2}){3,}")
_SOFT = re.compile(rb"=[0-9A-Fa-f]{2}|=\r?\n")
_PERCENT = re.compile(rb"%[0-9a-fA-F]{2}")
_MOST_STRAY = 64
PIECE = 32 << 20
"""Length in bytes of the pieces in which long texts are examined."""

_ESCAPED = re.compile(
    rb"\\(?:u00([0-7][0-9a-fA-F])|([/nrt\\]))|&#(?:[xX]0*([0-9a-fA-F]{1,2})|0*(\d{1,3}));|%([2-7][0-9a-fA-F])"
)
_WHITE = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"/": b"/", b"\\": b"\\"}

_BRAILLE = re.compile(rb"\xe2[\xa0-\xa3][\x80-\xbf]")
_SHADES = re.compile(rb"\xe2\x96[\x80\x84\x91-\x93\xa0\xa1]|\xe2\xac[\x9b\x9c]|\xf0\x9f\x9f[\xa0-\xab]")
"""Shade and half-block characters, and coloured squares and circles."""
_ART = re.compile(rb"^(?:[ !-/:-@\[-`{-~]{24,}\r?(?:\n|\Z)){16,}", re.MULTILINE)
_ART_TONES = 5
_MOST_DRAWN = 256

_NETPBM = re.compile(rb"P(?<![\w.]P)[1-7]\s+(?:#.*\n\s*)*(?:WIDTH\s+)?\d+\s+(?:HEIGHT\s+)?\d+\s")
_FORMS = tuple(
    (what, hints, re.compile(pattern, re.IGNORECASE | re.MULTILINE))
    for what, hints, pattern in (
        ("an SVG drawing", (b"svg", b"<v:"), rb"<(?:\w+:)?svg[\s>:]|www\.w3\.org/2000/svg|<v:image"),
        ("a picture as a data URI", (b"data:",), rb"data:(?:image|video|application/octet-stream)[/;,]"),
        ("an XPM picture", (b"xpm", b"char"), rb"/\*\s*XPM\s*\*/|^!\s*XPM2|static\s+(?:const\s+)?char\s*\*"),
        ("an XBM picture", (b"#define",), rb"#define\s+\w*width\s+\d+\s+#define\s+\w*height\s+\d+"),
        ("PostScript or a PDF", (b"%!ps", b"%pdf"), rb"^\s*%!PS|%PDF-\d"),
        ("an encoded file", (b"begin", b"binhex", b"<~"),
         rb"^begin(?:-base64)? [0-7]{3,4} \S|^=ybegin |^\(This file must be converted with BinHex|<~[!-u\s]{64,}~>"),
    )
)  # fmt: skip
"""Picture formats written as text: a name for messages, strings of which one must occur in lower case, a pattern."""


def plain_text(data: bytes) -> bytes | None:
    """Return a file's text in UTF-8 without byte order mark, None if the file is no plain text.

    UTF-8, UTF-16 with a byte order mark, and XML with a common declared encoding are plain text, unless the text
    contains control characters or many bytes written as escapes.
    """
    try:
        text = _decoded(data).encode()
    except UnicodeError:
        return None
    return None if _is_binary(text) else text


def find_picture(text: bytes) -> str:
    """Return why a plain text may contain a picture, "" if none is found.

    Args:
        text: UTF-8, as `plain_text` returns it.
    """
    return next((reason for piece in _pieces(text) if (reason := _find(piece))), "")


def _pieces(text: bytes) -> Iterator[bytes]:
    """Yield a long text in pieces, cut after an object or a line, so that memory use is bounded."""
    begin = 0
    while len(text) - begin > PIECE:
        near = range(begin + PIECE // 2, begin + PIECE)
        cut = max(text.rfind(mark, near.start, near.stop) for mark in (b"}", b"\n")) + 1
        cut = cut or near.stop
        yield text[begin:cut]
        begin = cut
    yield text[begin:]


def _find(text: bytes) -> str:
    if text.lstrip().startswith(b"{\\rtf"):
        return "it is rich text, which may contain pictures"
    text = _unescaped(set_masks_aside(text))
    return _form(text) or find_encoded(text) or find_numbers(text)


def _form(text: bytes) -> str:
    """Return a message if a text is or contains a picture format written as text, else ""."""
    lower = text.lower()
    for what, hints, pattern in _FORMS:
        if any(hint in lower for hint in hints) and pattern.search(text):
            return f"it contains {what}, which may show persons"
    return next((f"it contains {what}, which may show persons" for what, shows in _OTHER_FORMS if shows(text)), "")


def _decoded(data: bytes) -> str:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16")
    declared = _DECLARED.match(data)
    return data.decode(declared[1].decode() if declared else "utf-8-sig")


def _is_binary(text: bytes) -> bool:
    """Return whether a text has control characters, or many bytes written as escapes."""
    if len(text.translate(None, _CONTROLS)) < len(text):
        return True
    return (b"\\" in text or b"\xc2" in text) and sum(1 for _ in _STRAY.finditer(text)) > _MOST_STRAY


def _unescaped(text: bytes) -> bytes:
    """Return a text in which the escapes of JSON, XML and URLs for ASCII characters are resolved."""
    return _ESCAPED.sub(_character, text) if any(mark in text for mark in (b"\\", b"&#", b"%")) else text


def _character(match: re.Match[bytes]) -> bytes:
    in_json, short, in_hex, decimal, in_url = match.groups()
    if short:
        return _WHITE[short]
    code = int(decimal) if decimal else int(in_json or in_hex or in_url, 16)
    return bytes([code]) if 32 <= code < 127 or code in b"\t\n\r" else match[0]


def _is_drawn(text: bytes) -> bool:
    """Return whether a text has many characters with which programs draw: Braille, shades, blocks, squares."""
    return len(_BRAILLE.findall(text)) >= _MOST_DRAWN or (
        len(shades := _SHADES.findall(text)) >= _MOST_DRAWN and len(set(shades)) > 1
    )


def _is_ascii_art(text: bytes) -> bool:
    """Return whether many consecutive lines consist of punctuation, with more different signs than table rules have."""
    return any(len(set(lines[0]) - set(b" \r\n")) >= _ART_TONES for lines in _ART.finditer(text))


def _is_quoted_printable(text: bytes) -> bool:
    """Return whether a text is mostly quoted-printable, the encoding of bytes in e-mails."""
    signs = text.count(b"=")
    return signs > len(text) / 40 and signs > _MOST_STRAY and len(_SOFT.findall(text)) > 0.95 * signs


def _is_percent_encoded(text: bytes) -> bool:
    """Return whether a text has many percent-encoded bytes that are no UTF-8 text."""
    if len(_PERCENT.findall(text)) <= _MOST_STRAY:
        return False
    try:
        return _is_binary(unquote_to_bytes(text).decode().encode())
    except UnicodeError:
        return True


_OTHER_FORMS: tuple[tuple[str, Callable[[bytes], bool]], ...] = (
    ("a PBM, PGM or PPM picture", lambda text: _NETPBM.search(text) is not None),
    ("a drawing in Braille or block characters", _is_drawn),
    ("a drawing in punctuation characters", _is_ascii_art),
    ("bytes in quoted-printable", _is_quoted_printable),
    ("bytes in percent-encoding", _is_percent_encoded),
)
