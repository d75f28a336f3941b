"""Convert between the bytes of a TIFF's rows and samples: depth, byte order and predictor."""

from __future__ import annotations

import numpy as np
from jaxtyping import UInt, UInt8

from styleid.media.formats.png import packed_rows, unpacked_rows


def samples_of(
    rows: UInt8[np.ndarray, "h bytes"], width: int, bits: int, per_pixel: int, order: str, predictor: int, block: int
) -> UInt[np.ndarray, "h w *channels"]:
    """Convert rows to samples.

    Args:
        rows: uint8 (h, bytes).
        width: Pixels per row.
        bits: Depth of a sample: 1, 2, 4, 8 or 16.
        per_pixel: Samples per pixel.
        order: Byte order of 16-bit samples, "<" or ">".
        predictor: 1 for none, 2 for differences along rows.
        block: Number of columns after which differences start again: the width of a tile, else of the picture.

    Returns:
        uint8 or uint16, (h, w) for one sample per pixel, else (h, w, per_pixel).
    """
    if bits < 8:
        return unpacked_rows(rows, bits, width)
    if bits == 16:
        rows = rows.view(order + "u2").astype(np.uint16)
    samples = rows.reshape(len(rows), width, per_pixel)
    if predictor == 2:
        parts = [samples[:, left : left + block] for left in range(0, width, block)]
        samples = np.concatenate([np.cumsum(p, axis=1, dtype=p.dtype) for p in parts], axis=1)
    return samples[:, :, 0] if per_pixel == 1 else samples


def rows_of(samples: UInt[np.ndarray, "h w *channels"], bits: int, predictor: int) -> UInt8[np.ndarray, "h bytes"]:
    """Convert samples to little-endian rows: the inverse of `samples_of`, with differences along whole rows.

    Args:
        samples: uint8 or uint16, (h, w) or (h, w, c).
        bits: Depth of a sample: 1, 2, 4, 8 or 16.
        predictor: 1 for none, 2 for differences along rows.
    """
    if bits < 8:
        return packed_rows(samples, bits)
    cube = samples.reshape(*samples.shape[:2], -1)
    if predictor == 2:
        cube = np.concatenate([cube[:, :1], np.diff(cube, axis=1)], axis=1)
    if bits == 16:
        cube = np.ascontiguousarray(cube.astype("<u2", copy=False)).view(np.uint8)
    return cube.reshape(len(samples), -1)


def inverted(samples: UInt[np.ndarray, "h w *channels"], bits: int) -> UInt[np.ndarray, "h w *channels"]:
    """Return samples with the first channel (grey) inverted and an alpha channel unchanged."""
    turned = samples.copy()
    grey = turned[..., 0] if turned.ndim == 3 else turned
    np.subtract((1 << bits) - 1, grey, out=grey, casting="unsafe")
    return turned
