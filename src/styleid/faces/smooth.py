"""Smooth what is measured along a track without shifting it in time.

A local quadratic, weighted by a Gaussian in time and by how far each measurement is trusted: a zero-phase filter that
leaves even motion, and motion that gains speed evenly, as it is.
"""

from __future__ import annotations

import numpy as np

from styleid.types import FloatArray

_REACH = 3.0
_RIDGE = 0.02


def smooth(times_s: FloatArray, values: FloatArray, weights: FloatArray, sigma_s: float) -> FloatArray:
    """Return values (n, ...) smoothed over times (n,), increasing; weights (n,) in [0, 1]. NaN has no weight."""
    flat = np.asarray(values, np.float64).reshape(len(values), -1)
    known = np.isfinite(flat).all(1)
    trust = np.where(known, np.maximum(weights, 1e-4), 0.0)
    flat = np.where(np.isfinite(flat), flat, 0.0)
    out = np.empty_like(flat)
    low = np.searchsorted(times_s, times_s - _REACH * sigma_s, "left")
    high = np.searchsorted(times_s, times_s + _REACH * sigma_s, "right")
    for i, (a, b) in enumerate(zip(low, high, strict=True)):
        t = (times_s[a:b] - times_s[i]) / sigma_s
        w = trust[a:b] * np.exp(-0.5 * t**2)
        out[i] = _centre_of_fit(t, w, flat[a:b]) if w.sum() > 0 else np.nan
    return out.reshape(np.shape(values)).astype(np.float32)


def _centre_of_fit(t: FloatArray, w: FloatArray, values: FloatArray) -> FloatArray:
    """Return the weighted quadratic fit's value at t = 0; a ridge on slope and curve holds where little is known."""
    design = np.stack([np.ones_like(t), t, t**2], 1)
    normal = (design * w[:, None]).T @ design + np.diag([0.0, _RIDGE, 5 * _RIDGE]) * w.sum()
    return np.linalg.solve(normal, (design * w[:, None]).T @ values)[0]
