"""Find encoded bytes in short groups of one length, as keys, mails and lists show them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

_APART = tuple(bytes(code in between for code in range(256)) for between in (b" \t\r\n", b" \t\r\n,"))
_OFTEN = 40
"""Commas that are oftener than one in so many characters are between words; fewer may belong to them."""

_QUOTES = b"\"'()[]{}\\"
_LONG = 256
_LONGEST_GROUP = 13
_LOOKED_AT = 1 << 14
_HEX_GROUP = 7
_BITS = {"hex": 3.6, "base32": 4.5, "base64": 5.2}


def is_grouped(text: bytes) -> bool:
    """Say whether a text holds many short words of one length that are as mixed as encoded bytes are."""
    commas = text.count(b",")
    wanted = (commas * _OFTEN <= len(text), commas > 0)
    tables = (table for table, is_wanted in zip(_APART, wanted, strict=True) if is_wanted)
    return any(_is_mixed(words) for apart in tables for words in _groups(text, apart))


def entropy_bits(text: bytes) -> float:
    """Return the entropy of a text's characters in bits."""
    counts = np.bincount(np.frombuffer(text, np.uint8))
    shares = counts[counts > 0] / len(text)
    return float(-(shares * np.log2(shares)).sum())


def _groups(text: bytes, apart: bytes) -> Iterator[list[bytes]]:
    """Yield words that follow each other and are of one length, 256 characters or more.

    apart: a translation table of what is between words.
    """
    between = np.flatnonzero(np.frombuffer(text.translate(apart), np.uint8))
    starts, ends = np.append(0, between + 1), np.append(between, len(text))
    starts, ends = starts[ends > starts], ends[ends > starts]
    lengths = ends - starts
    changes = np.flatnonzero(np.diff(lengths, prepend=0, append=0))
    for first, after in pairwise(changes.tolist()):
        if lengths[first] <= _LONGEST_GROUP and lengths[first] * (after - first) >= _LONG:
            begin = int(starts[first])
            group = text[begin : min(int(ends[after - 1]), begin + _LOOKED_AT)]
            yield (group.replace(b",", b" ") if apart[ord(",")] else group).split()


def _is_mixed(words: list[bytes]) -> bool:
    bare = [word.strip(_QUOTES) for word in words]
    joined = b"".join(bare)
    if len(joined) < _LONG // 2 or not joined.isascii() or not joined.strip(b"0123456789.+-eE"):
        return False
    longest, bits = max(map(len, bare)), entropy_bits(joined)
    if longest <= _HEX_GROUP:
        is_hex = not joined.strip(b"0123456789abcdefABCDEF")
        return bits >= (_BITS["hex"] if is_hex else _BITS["base32"])
    return bits >= _BITS["base64"] and longest < _LONGEST_GROUP - 2
