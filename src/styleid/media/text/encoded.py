"""Find bytes that are encoded as text: base64 in both alphabets, base32, hex, base85 and similar.

The encoded bytes need not be a known picture format: a long run of encoded bytes is always treated as a possible
picture.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from styleid.media.text.groups import entropy_bits, is_grouped
from styleid.media.text.raster import LEAST_NUMBERS, is_raster
from styleid.media.text.runs import alphabet, long_runs
from styleid.media.text.signatures import SIGNATURE

_DIGITS = b"0123456789"
_LETTERS = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_BASE64 = alphabet(_DIGITS + _LETTERS + b"+/=_-")
_BASE85 = alphabet(_DIGITS + _LETTERS + b"!#$%&()*+-;<=>?@^_`{|}~")
_LONG = 256
_RULE = b"=-_+/"
_PIECE = 12
_BITS_OF_BASE64 = 5.2
_BITS_OF_BASE85 = 5.5

_BETWEEN = b" \t\r\n\"',\\+()[]"
_BASE64_APART = alphabet(_DIGITS + _LETTERS + b"+/=_-" + _BETWEEN)
_GAP = 8
_APART = 40
_DIGESTS_IN_BASE64 = frozenset({22, 24, 27, 28, 43, 44, 86, 88})
_DIGESTS = frozenset({16, 24, 32, 40, 48, 56, 64, 96, 128})

_LITERALS = (b"iVBORw0KGgo", b"R0lGODdh", b"R0lGODlh", b"AAAADEpYTCAN", b"AAAADGpQICAN", b"OEJQUw", b"cW9pZg",
             b"dg8xAQ", b"UEsDB", b"H4sIA", b"JVBERi", b"k05VTVBZ")  # fmt: skip
"""First characters in base64 of PNG, GIF, JPEG XL, JPEG 2000, Photoshop, QOI, OpenEXR, ZIP, gzip, PDF and NumPy."""

_STARTS = tuple(
    (hint, re.compile(pattern))
    for hint, pattern in (
        (b"UklGR", rb"UklGR[A-Za-z0-9+/]{6,10}XRUJQ"),  # WebP
        (b"Z0eX", rb"AAAA[A-Za-z0-9+/][GWm2]Z0eX"),  # AVIF, HEIC and videos
        (b"SUkqA", rb"SUkqA[A-D]"),  # TIFF
        (b"TU0AK", rb"TU0AK[g-v]"),
    )
)
_JPEG = re.compile(rb"/9j/[A-Za-z0-9+/]{8}")
_BMP = re.compile(rb"Qk[0-9A-Za-z+/]{38}")
_HEX = alphabet(_DIGITS + b"abcdefABCDEFxXhH\\#={}[]()\"'-_./|&+$" + b" \t\r\n,:;")
_HEX_DIGITS = _DIGITS + b"abcdefABCDEF"
_HEX_BETWEEN = re.compile(rb"[\s,:;={}\[\]()\"'\-_./|&+$hH]+|0[xX]|\\[xX]|#")
_COLOUR = re.compile(rb"(?:#|0x)([0-9a-fA-F]{6})(?:[0-9a-fA-F]{2})?\b")
_DUMPED = rb"\n[0-9a-fA-F]{6,8}:?[ \t]+(?:[0-9a-fA-F]{2,8}[ \t]+){4,}[^\n]*"
_HEX_DUMP = re.compile(_DUMPED + rb"(?:" + _DUMPED + rb"){11,}")
_DIGEST = re.compile(rb"sha(?:1|224|256|384|512)[-=:][A-Za-z0-9+/_-]{27,86}=*")
_URL = re.compile(rb"https?://[^\s\"'<>\\]{1,1024}")

_MARKS = alphabet(b"!#$%&()*+;<=>?@^`|~")
_WINDOW = 256
_MARKED = 0.1
_CAPITALS = alphabet(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ")
_CAPITAL = 0.2
_BITS_OF_WINDOWS = 5.7
_SPACED = 0.05


def find_encoded(text: bytes) -> str:
    """Return a message if encoded bytes in a text may be a picture, else "".

    Args:
        text: Plain text whose escapes have been resolved.
    """
    if starts_in_base64(text):
        return "it contains a picture in base64, which may show persons"
    if _is_hex(text):
        return "it contains a picture in hex, which may show persons"
    long = [end - begin for begin, end in long_runs(text, _BASE64, _LONG) if text[begin:end].strip(_RULE)]
    text = _DIGEST.sub(b" ", _URL.sub(b" ", text))
    runs = long_runs(text, _BASE85, _LONG)
    long += [end - begin for begin, end in runs if entropy_bits(text[begin:end]) >= _BITS_OF_BASE85]
    if long:
        return f"it contains {max(long)} characters of encoded bytes, which may be a picture"
    if any(map(_may_be_picture, _chains(text))) or any(map(_may_be_picture, _even_chains(text))) or is_grouped(text):
        return "it contains encoded bytes in several lines or pieces, which may be a picture"
    return "it contains bytes in base85 or similar, which may be a picture" if _has_dense_windows(text) else ""


def starts_in_base64(text: bytes) -> bool:
    """Return whether a text contains the beginning of a picture or archive in base64, in pieces of any length."""
    squeezed = text.translate(bytes.maketrans(b"-_", b"+/"), b" \t\r\n\"',\\")
    if any(one in squeezed for one in _LITERALS):
        return True
    if any(hint in squeezed and pattern.search(squeezed) for hint, pattern in _STARTS):
        return True
    return any(_is_jpeg(match[0]) for match in _JPEG.finditer(squeezed)) or any(
        _is_bmp(match[0]) for match in _BMP.finditer(squeezed)
    )


def _is_jpeg(encoded: bytes) -> bool:
    """Return whether a JPEG's first marker is followed by a segment of plausible type and length."""
    head = base64.b64decode(encoded)
    return head[3] in (0xDB, 0xC0, 0xC4, 0xEE, 0xFE, *range(0xE0, 0xF0)) and (head[4] == 0 or head[3] in (0xE1, 0xE2))


def _is_bmp(encoded: bytes) -> bool:
    head = base64.b64decode(encoded)
    return head[6:10] == bytes(4) and head[11:14] == bytes(3) and head[15:18] == bytes(3) and head[26] == 1


def _is_hex(text: bytes) -> bool:
    """Return whether a text contains a list of bytes or colours in hex that may be a picture.

    Runs of hex digits without separators are found by `find_encoded`.
    """
    if _HEX_DUMP.search(text) or _are_pixels(_COLOUR.findall(text) if b"#" in text or b"0x" in text else ()):
        return True
    return any(_is_byte_list(text[begin:end]) for begin, end in long_runs(text, _HEX, 2 * _LONG))


def _are_pixels(colours: Sequence[bytes]) -> bool:
    greens = np.array([int(colour, 16) >> 8 & 255 for colour in colours], np.float64)
    return len(greens) >= LEAST_NUMBERS and is_raster(greens)


def _is_byte_list(span: bytes) -> bool:
    if len(span) - len(span.translate(None, b"abcdfABCDF")) < len(span) // 25:  # numbers lack these letters
        return False
    words = [word for word in _HEX_BETWEEN.split(span) if word]
    short = [word.rjust(2, b"0") for word in words if len(word) in (1, 2, 4, 8) and not word.strip(_HEX_DIGITS)]
    lettered = sum(bool(word.strip(_DIGITS + b"eE")) for word in short)  # an e alone may be an exponent
    if len(short) < 0.9 * len(words) or lettered < 0.1 * len(short):
        return False
    are_bytes = lettered >= 0.3 * len(short) and max(map(len, short)) <= 4
    return (are_bytes and 2 * len(b"".join(short)) >= _LONG) or _shows(b"".join(short))


def _shows(digits: bytes) -> bool:
    data = binascii.unhexlify(digits[: len(digits) // 2 * 2])
    numbers = np.frombuffer(data, np.uint8).astype(np.float64)
    return SIGNATURE.search(data) is not None or (len(numbers) >= LEAST_NUMBERS and is_raster(numbers))


def _chains(text: bytes) -> Iterator[list[bytes]]:
    """Yield sequences of base64 words on consecutive lines or in a list of strings, of 256 characters or more.

    Words of fewer than 12 characters, and words that other text separates, do not count.
    """
    for begin, end in long_runs(text, _BASE64_APART, _LONG):
        yield from (chain for chain in _chains_in(text[begin:end]) if sum(map(len, chain)) >= _LONG)


def _chains_in(text: bytes) -> Iterator[list[bytes]]:
    chain: list[bytes] = []
    last = 0
    for begin, end in long_runs(text, _BASE64, _PIECE):
        if begin - last > _GAP or text[last:begin].strip(_BETWEEN):
            yield chain
            chain = []
        chain.append(text[begin:end])
        last = end
    yield chain


def _even_chains(text: bytes) -> Iterator[list[bytes]]:
    """Yield sequences of base64 words of equal length with at most 40 characters between them, such as numbered pieces.

    Words as long as a digest in base64 do not count.
    """
    chain: list[bytes] = []
    last = 0
    for begin, end in long_runs(text, _BASE64, 2 * _PIECE):
        if chain and (begin - last > _APART or end - begin != len(chain[-1])):
            yield chain
            chain = []
        if (end - begin) not in _DIGESTS_IN_BASE64:
            chain.append(text[begin:end])
        last = end
    yield chain


def _may_be_picture(chain: Iterable[bytes]) -> bool:
    words = [word for word in chain if word.strip(_RULE)]
    joined = b"".join(words)
    if len(joined) < _LONG:
        return False
    if joined.isdigit():
        return set(joined) <= set(b"01") or _are_triples(joined)
    if re.fullmatch(rb"[0-9a-fA-F]+", joined):
        return _shows(joined) or not {len(word) for word in words} <= _DIGESTS
    if re.fullmatch(rb"[A-Z2-7=]+", joined):
        return True
    windows = (joined[at : at + 4 * _LONG] for at in range(0, len(joined) - _LONG + 1, _LONG))
    return max(map(entropy_bits, windows)) >= _BITS_OF_BASE64


def _are_triples(digits: bytes) -> bool:
    """Return whether digits are pixels, three digits each."""
    values = np.array([int(digits[at : at + 3]) for at in range(0, len(digits) - 2, 3)], np.float64)
    return bool(values.max() <= 255) and is_raster(values)


def _has_dense_windows(text: bytes) -> bool:
    """Return whether a window of a text has as many different characters, and as few spaces, as base85."""
    close = b" ".join(text.split())
    return any(_is_dense(close[at:]) for at in (0, _WINDOW // 2))


def _is_dense(text: bytes) -> bool:
    count = len(text) // _WINDOW
    windows = np.frombuffer(text, np.uint8, count * _WINDOW).reshape(count, _WINDOW)
    close = (windows == ord(" ")).mean(1) <= _SPACED
    for among, share, bits in ((_MARKS, _MARKED, _BITS_OF_BASE85), (_CAPITALS, _CAPITAL, _BITS_OF_WINDOWS)):
        likely = np.flatnonzero(close & (np.frombuffer(among, bool)[windows].mean(1) >= share))
        if any(entropy_bits(windows[at].tobytes()) >= bits for at in likely):
            return True
    return False
