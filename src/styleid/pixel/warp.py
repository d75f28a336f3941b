"""Smooth warps from one outline of a face to another, which leave the crop's border fixed.

Convention
----------
Points are (x, y) pixels of a square crop, with pixel centres at integers. A displacement field is float32 (s, s, 2):
the offset from each pixel to the position from which it is sampled (backward mapping).
"""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
from jaxtyping import Float

_GRID = 24
"""Points per side of the grid on which the spline is evaluated."""
_ANCHORS_PER_SIDE = 6
"""Fixed points per side of the crop's border."""
_STIFFNESS = 50.0
"""Regularisation of the spline."""
_FADE = 0.08
"""Width of the margin in which displacements fade to zero, as a share of the crop's side."""


def outline_displacement(
    source: Float[np.ndarray, "k 2"], generated: Float[np.ndarray, "k 2"], size_px: int, max_shift_px: float
) -> Float[np.ndarray, "s s 2"]:
    """Return the displacement field that moves the source's outline onto the generated one.

    A thin-plate spline (Bookstein 1989) with knots on the generated outline and on the crop's border. Displacements
    fade to zero at the border, so that the crop joins its photo exactly.

    Args:
        source: Points of the source's outline, (k, 2).
        generated: Corresponding points of the generated outline, (k, 2).
        size_px: Side s of the crop, pixels.
        max_shift_px: Largest displacement of a point, pixels.

    Returns:
        (s, s, 2), float32.
    """
    shift = source - generated
    length = np.linalg.norm(shift, axis=1, keepdims=True)
    shift = shift * np.minimum(1, max_shift_px / np.maximum(length, 1e-6))
    knots = np.concatenate([generated, _anchors(size_px)]).astype(np.float64)
    values = np.concatenate([shift, np.zeros((len(knots) - len(shift), 2))])
    ticks = np.linspace(0, size_px - 1, _GRID)
    places = np.stack(np.meshgrid(ticks, ticks), -1).reshape(-1, 2)
    coarse = thin_plate(knots, values, places).reshape(_GRID, _GRID, 2).astype(np.float32)
    step = (size_px - 1) / (_GRID - 1)
    grid = np.arange(size_px, dtype=np.float32) / step
    x, y = np.meshgrid(grid, grid)
    field = cv2.remap(coarse, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return field * _border_fade(size_px)[..., None]


def thin_plate(
    knots: Float[np.ndarray, "k 2"], values: Float[np.ndarray, "k c"], places: Float[np.ndarray, "m 2"]
) -> Float[np.ndarray, "m c"]:
    """Interpolate values with a thin-plate spline.

    Args:
        knots: (k, 2).
        values: Values at the knots, (k, c).
        places: Where to interpolate, (m, 2).

    Returns:
        (m, c).
    """
    system, terms = _system(knots, _STIFFNESS), _terms(knots, places)
    return terms @ np.linalg.solve(system, np.concatenate([values, np.zeros((3, values.shape[1]))]))


def thin_plate_matrix(
    knots: Float[np.ndarray, "k 2"], places: Float[np.ndarray, "m 2"], stiffness: float = _STIFFNESS
) -> Float[np.ndarray, "m k"]:
    """Return the matrix of a thin-plate spline, which maps values at knots to values at other points.

    Args:
        knots: (k, 2).
        places: Where to interpolate, (m, 2).
        stiffness: Regularisation; a larger value gives a smoother spline.

    Returns:
        (m, k).
    """
    system, terms = _system(knots, stiffness), _terms(knots, places)
    return np.linalg.solve(system.T, terms.T).T[:, : len(knots)]


def _system(knots: Float[np.ndarray, "k 2"], stiffness: float) -> Float[np.ndarray, "k+3 k+3"]:
    count = len(knots)
    affine = np.concatenate([np.ones((count, 1)), knots], 1)
    system = np.zeros((count + 3, count + 3))
    system[:count, :count] = _kernel(knots, knots) + stiffness * np.eye(count)
    system[:count, count:], system[count:, :count] = affine, affine.T
    return system


def _terms(knots: Float[np.ndarray, "k 2"], places: Float[np.ndarray, "m 2"]) -> Float[np.ndarray, "m k+3"]:
    return np.concatenate([_kernel(places, knots), np.ones((len(places), 1)), places], 1)


def _kernel(a: Float[np.ndarray, "m 2"], b: Float[np.ndarray, "k 2"]) -> Float[np.ndarray, "m k"]:
    across, down = (a[:, None, axis] - b[None, :, axis] for axis in (0, 1))
    square = across * across + down * down
    return square * np.log(np.maximum(square, 1e-12))


@cache
def _anchors(size_px: int) -> Float[np.ndarray, "k 2"]:
    return border_anchors(size_px, _ANCHORS_PER_SIDE)


def border_anchors(size_px: int, per_side: int) -> Float[np.ndarray, "k 2"]:
    """Return evenly spaced points on the border of a square.

    Args:
        size_px: Side of the square, pixels.
        per_side: Number of points per side, corners included.

    Returns:
        (4 * per_side - 4, 2).
    """
    ticks = np.linspace(0, size_px - 1, per_side)
    ends = {ticks[0], ticks[-1]}
    return np.array([(x, y) for x in ticks for y in ticks if x in ends or y in ends])


@cache
def _border_fade(size_px: int) -> Float[np.ndarray, "s s"]:
    ramp = np.minimum(np.arange(size_px), np.arange(size_px)[::-1]) / (_FADE * size_px)
    ramp = np.clip(ramp, 0, 1) ** 2 * (3 - 2 * np.clip(ramp, 0, 1))
    return (ramp[:, None] * ramp[None, :]).astype(np.float32)
