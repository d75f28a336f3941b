"""Adapters that run upstream's and the built-in bundle's networks on the crop of a bundle built from StyleID's files.

Upstream's networks take smaller images; the built-in bundle's networks take another crop.

Convention
----------
The bundle's crop is float (n, 3, side, side), RGB in [-1, 1], aligned as FFHQ. Matrices are (2, 3) and map the built-in
bundle's crop (the inner crop) to this one, pixel centres at integers.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from styleid.lab.networks.mobilenet import MALE
from styleid.types import FloatArray

_OUTSIDE = 10.0


class Resized(nn.Module):
    """Resizes a crop to the side that a network was trained at, and runs the network.

    Args:
        network: The network.
        side: Side of the crop.
        network_side: Side of the network's input.
    """

    def __init__(self, network: nn.Module, side: int, network_side: int) -> None:
        super().__init__()
        self.network, self.side, self.network_side = network, side, network_side

    def forward(self, crop: torch.Tensor) -> torch.Tensor:
        """Return the network's output for crops (n, 3, side, side)."""
        return self.network(resized(crop, self.side, self.network_side))


def resized(crop: torch.Tensor, side: int, wanted: int) -> torch.Tensor:
    """Resize crops (n, 3, side, side), by averaging down or interpolating up.

    Args:
        crop: The crops.
        side: Their side.
        wanted: The new side; if it is smaller, it must divide `side`.
    """
    if side == wanted:
        return crop
    if side > wanted:
        return functional.avg_pool2d(crop, side // wanted)
    return functional.interpolate(crop, size=(wanted, wanted), mode="bilinear", align_corners=False)


class OneHot(nn.Module):
    """Converts label numbers, float (n, h, w), to one-hot maps (n, labels, h, w), and runs an encoder on them."""

    numbers: torch.Tensor

    def __init__(self, encoder: nn.Module, labels: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.register_buffer("numbers", torch.arange(labels).float().view(1, -1, 1, 1))

    def forward(self, labels: torch.Tensor) -> torch.Tensor:
        """Return the encoder's output for label maps (n, h, w)."""
        return self.encoder(((labels[:, None] - self.numbers).abs() < 0.5).to(self.numbers.dtype))


class ToOtherCrop(nn.Module):
    """Resamples the inner crop from this one, by averaging down and interpolation.

    Args:
        matrix: (2, 3), inner crop to this crop.
        side: Side of this crop.
        inner: Side of the inner crop.
    """

    grid: torch.Tensor

    def __init__(self, matrix: FloatArray, side: int, inner: int) -> None:
        super().__init__()
        scale = float(np.hypot(matrix[0, 0], matrix[1, 0]))
        self.factor = 1 << max(0, int(np.floor(np.log2(scale + 1e-6))))
        places = _grid_places(inner) @ matrix[:, :2].T + matrix[:, 2]
        self.register_buffer("grid", _to_grid(places, side, inner))

    def forward(self, crop: torch.Tensor) -> torch.Tensor:
        """Return inner crops (n, 3, inner, inner) of crops (n, 3, side, side)."""
        small = functional.avg_pool2d(crop, self.factor) if self.factor > 1 else crop
        grid = self.grid.expand(crop.shape[0], -1, -1, -1)
        return functional.grid_sample(small, grid, mode="bilinear", padding_mode="border", align_corners=False)


class FromOtherCrop(nn.Module):
    """Maps the built-in parser's output from the inner crop to this one. Pixels outside the inner crop are background.

    Args:
        matrix: (2, 3), inner crop to this crop.
        side: Side of this crop.
        inner: Side of the inner crop.
        out: Side of the returned logits.
        labels: Number of classes.
    """

    grid: torch.Tensor
    outside: torch.Tensor
    inside: torch.Tensor
    turn: torch.Tensor
    shift: torch.Tensor

    def __init__(self, matrix: FloatArray, side: int, inner: int, out: int, labels: int) -> None:
        super().__init__()
        inverse = np.linalg.inv(np.vstack([matrix, [0, 0, 1]]))[:2]
        places = (_grid_places(out) + 0.5) * (side / out) - 0.5
        places = places @ inverse[:, :2].T + inverse[:, 2]
        hidden = ((places < 0) | (places > inner - 1)).any(-1).reshape(1, 1, out, out)
        background = np.zeros((1, labels, 1, 1))
        background[0, 0] = _OUTSIDE
        self.register_buffer("grid", _to_grid(places, inner, out))
        self.register_buffer("outside", torch.from_numpy((hidden * background).astype(np.float32)))
        self.register_buffer("inside", torch.from_numpy(~hidden).float())
        self.register_buffer("turn", torch.from_numpy(matrix[:, :2].T.astype(np.float32).copy()))
        self.register_buffer("shift", torch.from_numpy(matrix[:, 2].astype(np.float32)))

    def forward(self, logits: torch.Tensor, landmarks: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return logits (n, labels, out, out) and landmarks (n, 68, 2) in this crop."""
        grid = self.grid.expand(logits.shape[0], -1, -1, -1)
        moved = functional.grid_sample(logits, grid, mode="bilinear", padding_mode="border", align_corners=False)
        return moved * self.inside + self.outside, landmarks @ self.turn + self.shift


class Described(nn.Module):
    """Combines two attribute networks: age and group from the built-in one, sex from CelebA's attribute Male."""

    def forward(self, described: torch.Tensor, celeba: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return attributes (n, 7), age, P(female), P(group) x 5, and the 40 CelebA attributes unchanged."""
        female = 1 - celeba[:, MALE : MALE + 1]
        return torch.cat([described[:, :1], female, described[:, 2:]], 1), celeba + 0


def _grid_places(side: int) -> FloatArray:
    """Return the coordinates (x, y) of a square's pixels, (side * side, 2)."""
    x, y = np.meshgrid(np.arange(side, dtype=np.float64), np.arange(side, dtype=np.float64))
    return np.stack([x, y], -1).reshape(-1, 2)


def _to_grid(places: FloatArray, source_side: int, side: int) -> torch.Tensor:
    """Convert coordinates (x, y) in a square of source_side to `grid_sample`'s grid, (1, side, side, 2)."""
    grid = (2 * places + 1) / source_side - 1
    return torch.from_numpy(grid.reshape(1, side, side, 2).astype(np.float32))
