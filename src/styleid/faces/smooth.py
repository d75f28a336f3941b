"""Smooth measurements along a track without a delay.

A quadratic is fitted around each time, weighted by a Gaussian in time and by the trust in each measurement. This
zero-phase filter does not change motion with constant speed or constant acceleration.
"""

from __future__ import annotations

import numpy as np

from styleid.types import FloatArray

_REACH = 3.0
"""Half-width of the window, in standard deviations of the Gaussian."""
_RIDGE = 0.02
"""Ridge penalty on the slope; five times as much on the curvature."""


def smooth(times_s: FloatArray, values: FloatArray, weights: FloatArray, sigma_s: float) -> FloatArray:
    """Return smoothed values.

    Args:
        times_s: Increasing times, (n,), seconds.
        values: Measurements, (n, ...); rows with NaN get no weight.
        weights: Trust in each measurement, (n,), 0 to 1.
        sigma_s: Standard deviation of the Gaussian, seconds.

    Returns:
        (n, ...), float32; NaN if no measurement lies near a time.
    """
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
    """Return the value at t = 0 of a weighted quadratic fit; the ridge keeps it stable with few measurements."""
    design = np.stack([np.ones_like(t), t, t**2], 1)
    normal = (design * w[:, None]).T @ design + np.diag([0.0, _RIDGE, 5 * _RIDGE]) * w.sum()
    return np.linalg.solve(normal, (design * w[:, None]).T @ values)[0]
