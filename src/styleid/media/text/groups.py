"""Find encoded bytes in short groups of equal length, as in printed keys and in lists."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

_APART = tuple(bytes(code in between for code in range(256)) for between in (b" \t\r\n", b" \t\r\n,"))
_OFTEN = 40
"""Commas are separators if there is at least one per this many characters; fewer may be part of the words."""

_QUOTES = b"\"'()[]{}\\"
_LONG = 256
_LONGEST_GROUP = 13
_LOOKED_AT = 1 << 14
_HEX_GROUP = 7
_BITS = {"hex": 3.6, "base32": 4.5, "base64": 5.2}


def is_grouped(text: bytes) -> bool:
    """Return whether a text has many short words of equal length whose characters vary as in encoded bytes."""
    commas = text.count(b",")
    wanted = (commas * _OFTEN <= len(text), commas > 0)
    tables = (table for table, is_wanted in zip(_APART, wanted, strict=True) if is_wanted)
    return any(_is_mixed(words) for apart in tables for words in _groups(text, apart))


def entropy_bits(text: bytes) -> float:
    """Return the entropy of a text's bytes, in bits per byte."""
    counts = np.bincount(np.frombuffer(text, np.uint8))
    shares = counts[counts > 0] / len(text)
    return float(-(shares * np.log2(shares)).sum())


def _groups(text: bytes, apart: bytes) -> Iterator[list[bytes]]:
    """Yield sequences of words of equal length, 256 characters or more.

    apart: translation table with 1 for the characters between words.
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
