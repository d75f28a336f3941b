"""Artificial inputs for a bundle's networks, the same on every machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from styleid.bundles.bundle import Bundle
from styleid.bundles.generators import MAPS
from styleid.types import FloatArray

ROWS = 7
"""Number of rows. The mapping network of aam128 has a matrix with seven columns; with a wrong transposition, seven rows
is the batch that gives wrong numbers without an error (`styleid.onnx_file`)."""
Shape = tuple[int, ...]


def example_inputs(bundle: Bundle, role: str) -> dict[str, FloatArray]:
    """Return artificial inputs for a network.

    Args:
        bundle: The bundle.
        role: The network's role.

    Returns:
        Seven rows for each input, float32, by input name.
    """
    values = bundle.session(role).get_inputs()
    return {value.name: _example(value.name, tuple(value.shape[1:]), bundle.spec.resolution) for value in values}


def _example(name: str, shape: Shape, crop_px: int) -> FloatArray:
    """Return ROWS rows of an input, by the name under which `Bundle` feeds it."""
    if name == "landmarks":
        return _landmarks(shape[0], crop_px)
    if name in MAPS:
        return _maps(shape[-1])[name]
    return _MAKERS.get(name, _waves)(shape).astype(np.float32)


def _rows(shape: Shape) -> np.ndarray:
    return np.arange(ROWS).reshape(-1, *[1] * len(shape))


def _waves(shape: Shape) -> np.ndarray:
    places = np.arange(int(np.prod(shape))).reshape(shape)
    return np.sin(places * 1.7 + places**2 * 0.011 + _rows(shape) * 2.3)


def _unit(shape: Shape) -> np.ndarray:
    rows = _waves(shape)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _crop(shape: Shape) -> np.ndarray:
    row = _rows(shape)
    channel, y, x = np.meshgrid(*(np.arange(n) for n in shape), indexing="ij")
    wave = np.sin(x / (9 + row) + channel) + np.cos(y / (13 - row) - row) * np.sin((x + 2 * y) / 31)
    return wave / 2


def _landmarks(count: int, crop_px: int) -> FloatArray:
    angle = np.arange(count) * 2 * np.pi / count
    around = np.stack([np.cos(angle) * 0.3, np.sin(angle) * 0.4], -1)
    return ((0.5 + around * (1 - 0.04 * _rows((count, 2)))) * crop_px).astype(np.float32)


def _labels(shape: Shape) -> np.ndarray:
    y, x = np.mgrid[: shape[0], : shape[1]]
    return (y * 6 // shape[0] + x * 6 // shape[1] + _rows(shape)) % 19


def _visible(shape: Shape) -> np.ndarray:
    return np.ones((ROWS, *shape))


def _people(shape: Shape) -> np.ndarray:
    """Return attributes of seven people: age in years, P(female), P(group) for five groups."""
    groups = np.eye(5)[np.arange(ROWS) % 5]
    return np.column_stack([20 + 7 * np.arange(ROWS), np.arange(ROWS) % 2, groups])


def _maps(side: int) -> dict[str, FloatArray]:
    """Return a generator's maps for seven artificial photos with a face in the middle."""
    row = _rows((3, side, side))
    channel, y, x = np.meshgrid(np.arange(3), np.arange(side), np.arange(side), indexing="ij")
    x, y = (2 * x + 1) / side - 1, (2 * y + 1) / side - 1
    colours = np.sin(3 * x + 2 * y + channel + row) * 0.8
    away = np.hypot(x / (0.5 + 0.02 * row), y / 0.7)[:, :1]
    region = np.clip((1 - away) * side / 8, 0, 1)
    rim, ring = (np.exp(-np.square((away - where) * side / 6)) for where in (0.9, 0.4))
    frames = (np.abs(np.hypot(np.abs(x) - 0.2, y + 0.2)[:1] - 0.12) < 0.03) * (row % 2)
    middle = colours[:, :, side // 2, side // 2][:, :, None, None]
    maps = {
        "context": colours * (region <= 0),
        "region": region,
        "lines": np.concatenate([rim * region, ring * region], 1),
        "glasses": frames * region,
        "light": middle * region,
    }
    return {name: value.astype(np.float32) for name, value in maps.items()}


_MAKERS: Mapping[str, Callable[[Shape], np.ndarray]] = {
    "crop": _crop,
    "labels": _labels,
    "visible": _visible,
    "attributes": _people,
    "identity": _unit,
}
