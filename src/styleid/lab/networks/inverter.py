"""The inverter of a StyleGAN2: a face's crop -> W+, a main w plus a delta per row (after e4e, Tov et al. 2021).

Convention
----------
Crops are float (n, 3, size_px, size_px), RGB in [-1, 1], under `CropTemplate.tight(size_px)`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from styleid.errors import TrainingError
from styleid.faces.align import CropTemplate
from styleid.lab.data import augment
from styleid.lab.networks.stylegan2 import GeneratorConfig

_SMALLEST_SIDE = 4


@dataclass(frozen=True)
class InverterConfig:
    """Shape of an inverter.

    Attributes:
        layers: Rows of W+.
        width: Width of W+.
        size_px: Side of the crop, a power of two of at least 16.
        levels: The first row of each level after the coarse one. The coarse level uses the feature map of 4 px, each
            further level one of twice the side.
        widths: Channels at sides size_px / 2, size_px / 4, ... 4.
        lateral: Channels of the merged feature maps.
        pooled: Channels of a head's input at 4 x 4.

    Raises:
        ValueError: If a value is out of range.
    """

    layers: int = 12
    width: int = 256
    size_px: int = 128
    levels: tuple[int, ...] = (4, 8)
    widths: tuple[int, ...] = (32, 64, 128, 192, 256)
    lateral: int = 128
    pooled: int = 64

    def __post_init__(self) -> None:
        if self.size_px < 16 or self.size_px & (self.size_px - 1):
            raise ValueError(f"size_px must be a power of two of at least 16, not {self.size_px}.")
        if len(self.widths) != self.size_px.bit_length() - 3:
            raise ValueError(
                f"widths must have {self.size_px.bit_length() - 3} numbers for {self.size_px} px, not "
                f"{len(self.widths)}."
            )
        starts = (0, *self.levels, self.layers)
        if any(a >= b for a, b in pairwise(starts)) or len(self.levels) >= len(self.widths):
            raise ValueError(
                f"levels must be increasing row numbers below {self.layers}, fewer than {len(self.widths)}, not "
                f"{self.levels}."
            )

    @classmethod
    def beside(cls, generator: GeneratorConfig, most_channels: int = 256) -> InverterConfig:
        """Return the shape of an inverter for a generator, with three levels of equal size where the side allows it.

        Args:
            generator: The generator's shape.
            most_channels: Upper limit of all channels.
        """
        stages = generator.resolution.bit_length() - 3
        widths = tuple(min(32 << i, 192 if i == 3 else 256, most_channels) for i in range(stages))
        third = generator.layers / 3
        levels = tuple(round(third * i) for i in (1, 2)) if stages > 2 else (generator.layers // 2,)
        lateral, pooled = min(128, most_channels), min(64, most_channels)
        return cls(generator.layers, generator.width, generator.resolution, levels, widths, lateral, pooled)

    @classmethod
    def of_state(cls, state: Mapping[str, torch.Tensor]) -> InverterConfig:
        """Infer the shape from a state dict; raises TrainingError if it is no inverter's."""
        try:
            width = state["mean"].shape[0]
            widths = [
                w.shape[0] for name, w in state.items() if name.startswith("stages.") and "skip.1.0.weight" in name
            ]
            rows = [w.shape[0] // width for name, w in state.items() if name.startswith("heads.") and ".3.bias" in name]
            levels = tuple(int(start) for start in np.cumsum(rows)[:-1])
            lateral, pooled = state["heads.0.0.weight"].shape[1], state["heads.0.0.weight"].shape[0]
            return cls(sum(rows), width, 4 << len(widths), levels, tuple(widths), lateral, pooled)
        except (KeyError, IndexError, ValueError) as error:
            raise TrainingError(f"These tensors are not those of an inverter ({error}).") from error


class Inverter(nn.Module):
    """Computes W+ from crops.

    Buffers: mean and spread, (width,), mean and standard deviation of the generator's w.
    """

    mean: torch.Tensor
    spread: torch.Tensor

    def __init__(self, config: InverterConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or InverterConfig()
        before = [config.widths[0], *config.widths]
        self.stem = _conv(3, config.widths[0])
        self.stages = nn.ModuleList(_Down(a, b) for a, b in zip(before, config.widths, strict=False))
        starts = (0, *config.levels, config.layers)
        rows = [b - a for a, b in pairwise(starts)]
        self.laterals = nn.ModuleList(nn.Conv2d(config.widths[-1 - i], config.lateral, 1) for i in range(len(rows)))
        self.heads = nn.ModuleList(_head(config, count) for count in rows)
        self.register_buffer("mean", torch.zeros(config.width))
        self.register_buffer("spread", torch.ones(config.width))

    def forward(self, crops: torch.Tensor, active: int | None = None) -> torch.Tensor:
        """Return W+ (n, layers, width).

        Args:
            crops: (n, 3, size_px, size_px).
            active: Rows from this number on get no delta; None uses all deltas.
        """
        x = self.stem(crops)
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        merged, found = None, []
        for level, (lateral, head) in enumerate(zip(self.laterals, self.heads, strict=True)):
            x = lateral(maps[-1 - level])  # (n, lateral, 4 << level, 4 << level)
            merged = x if merged is None else x + functional.interpolate(merged, scale_factor=2.0, mode="nearest")
            found.append(head(merged).float().unflatten(1, (-1, self.config.width)))
        codes = torch.cat(found, 1)
        main, deltas = codes[:, :1], codes[:, 1:]
        if active is not None:
            deltas = deltas * (torch.arange(1, self.config.layers, device=deltas.device) < active)[:, None]
        return self.mean + self.spread * torch.cat([main, main + deltas], 1)


def _conv(before: int, after: int, stride: int = 1, kernel: int = 3) -> nn.Sequential:
    conv = nn.Conv2d(before, after, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(after), nn.LeakyReLU(0.1))


class _Down(nn.Module):
    """Halves the side; a residual block follows."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.body = nn.Sequential(_conv(before, after, stride=2), _conv(after, after))
        self.skip = nn.Sequential(nn.AvgPool2d(2), _conv(before, after, kernel=1))
        self.more = nn.Sequential(_conv(after, after), _conv(after, after))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.body(x) + self.skip(x)
        return x + self.more(x)


def _head(config: InverterConfig, rows: int) -> nn.Sequential:
    last = nn.Linear(config.pooled * _SMALLEST_SIDE**2, rows * config.width)
    nn.init.normal_(last.weight, std=0.01)
    nn.init.zeros_(last.bias)
    reduce = nn.Conv2d(config.lateral, config.pooled, 1)
    return nn.Sequential(reduce, nn.LeakyReLU(0.1), _PooledFlat(), last)


class _PooledFlat(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.avg_pool2d(x, x.shape[-1] // _SMALLEST_SIDE).flatten(1)


class InnerEmbedder(nn.Module):
    """Embeds faces in the generator's crop with a network for `CropTemplate.arcface112`, differentiably.

    Args:
        network: The recogniser.
        side_px: Side of the generator's image.
    """

    grid: torch.Tensor

    def __init__(self, network: nn.Module, side_px: int) -> None:
        super().__init__()
        self.network = network
        view = CropTemplate.arcface112()
        matrix = augment.base_matrix(CropTemplate.tight(side_px), view)
        self.register_buffer("grid", augment.sampling_grid(matrix[None], view.size_px, side_px))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return unit embeddings (n, d) of images (n, 3, side_px, side_px)."""
        grid = self.grid.expand(images.shape[0], -1, -1, -1)
        return self.network(
            functional.grid_sample(images.float(), grid, padding_mode="reflection", align_corners=False)
        )
