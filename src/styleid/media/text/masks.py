"""Run-length masks of COCO: remove those that show an area, keep those that may show a halftone picture."""

from __future__ import annotations

import re
from itertools import accumulate

import numpy as np

_MASK = re.compile(rb'\{[^{}]*"counts"[^{}]*\}')
_COUNTS = re.compile(rb'"counts"\s*:\s*(?:"((?:[^"\\]|\\.)*)"|\[([\d\s,]*)\])')
_SIZE = re.compile(rb'"size"\s*:\s*\[\s*(\d+)\s*,\s*(\d+)\s*\]')
_FEW = 256
_EDGES_PER_COLUMN = 16


def set_masks_aside(text: bytes) -> bytes:
    """Return a text without the counts of its run-length masks.

    The counts are kept if they do not fit the mask's size, or if they have too many runs for a mask of an area.
    """
    if b'"counts"' not in text:
        return text
    return _MASK.sub(lambda match: _COUNTS.sub(b"", match[0]) if _is_area(match[0]) else match[0], text)


def _is_area(mask: bytes) -> bool:
    counts, size = _COUNTS.search(mask), _SIZE.search(mask)
    if counts is None or size is None:
        return False
    height, width = int(size[1]), int(size[2])
    runs = _decompressed(counts[1]) if counts[1] is not None else [int(one) for one in counts[2].split(b",") if one]
    return sum(runs) == height * width and len(runs) <= _FEW + _EDGES_PER_COLUMN * width and min(runs, default=0) >= 0


def _decompressed(counts: bytes) -> list[int]:
    """Return the run lengths that pycocotools encodes as text, [-1] if they are damaged.

    Each character holds five bits; from the fourth run on, differences from the run two before are stored.
    """
    codes = np.frombuffer(counts.replace(b"\\\\", b"\\"), np.uint8).astype(np.int64) - 48
    if not len(codes) or codes.min() < 0 or codes.max() > 63 or codes[-1] & 32:
        return [-1]
    starts = np.flatnonzero(np.concatenate([[True], (codes[:-1] & 32) == 0]))
    lengths = np.diff(np.append(starts, len(codes)))
    if lengths.max() > 7:
        return [-1]
    places = np.arange(len(codes)) - np.repeat(starts, lengths)
    values = np.add.reduceat((codes & 31) << 5 * places, starts)
    negative = (codes[starts + lengths - 1] & 16) != 0
    values -= negative.astype(np.int64) << 5 * lengths
    return _summed(values.tolist())


def _summed(values: list[int]) -> list[int]:
    """Add to each run, from the fourth on, the run two before it."""
    head, odd, even = values[:1], values[1::2], values[2::2]
    runs = [0] * len(values)
    runs[:1] = head
    runs[1::2] = list(accumulate(odd))
    runs[2::2] = list(accumulate(even))
    return runs
