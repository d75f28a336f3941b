"""The refiner, which makes the appearance model's renderings as sharp as photos, and its critic."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional


@dataclass(frozen=True)
class RefinerConfig:
    """Shape of the U-Net.

    Attributes:
        size_px: Side of the image, divisible by 16.
        widths: Channels at 1/2, 1/4, 1/8 and 1/16 of the side.
    """

    size_px: int = 160
    widths: tuple[int, ...] = (16, 32, 48, 64)

    def __post_init__(self) -> None:
        if self.size_px % 16 or len(self.widths) != 4:
            raise ValueError(f"size_px must be divisible by 16 and widths must be four numbers, not {self}.")


class Refiner(nn.Module):
    """Refines rendered faces (n, 3, s, s) in [-1, 1]. The output has the same shape and is not clipped."""

    noise: torch.Tensor

    def __init__(self, config: RefinerConfig | None = None) -> None:
        super().__init__()
        self.config = config or RefinerConfig()
        w = self.config.widths
        self.enter = nn.Conv2d(12, w[0], 3, padding=1)
        self.down = nn.ModuleList([_Block(w[0], w[0]), _Block(w[0], w[1]), _Block(w[1], w[2]), _Block(w[2], w[3])])
        self.up = nn.ModuleList([_Block(w[i + 1] + w[i], w[i]) for i in range(3)])
        self.grain = nn.Parameter(torch.zeros(1, w[0], 1, 1))
        noise = torch.randn(1, 1, self.config.size_px // 2, self.config.size_px // 2, generator=_seeded(7))
        self.register_buffer("noise", noise)
        self.leave = nn.Conv2d(w[0], 12, 3, padding=1)
        for parameter in self.leave.parameters():
            nn.init.zeros_(parameter)

    def forward(self, rendered: torch.Tensor) -> torch.Tensor:
        """Return refined faces, (n, 3, s, s)."""
        x = self.enter(functional.pixel_unshuffle(rendered, 2))
        features = []
        for level, block in enumerate(self.down):
            x = block(functional.avg_pool2d(x, 2) if level else x)
            features.append(x)
        for level in (2, 1, 0):
            x = functional.interpolate(x, scale_factor=2.0, mode="nearest")
            x = self.up[level](torch.cat([x, features[level]], 1))
        x = self.leave(x + self.grain * self.noise)
        return rendered + functional.pixel_shuffle(x, 2)


class _Block(nn.Module):
    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(before, after, 3, padding=1), nn.Conv2d(after, after, 3, padding=1)
        self.skip = nn.Identity() if before == after else nn.Conv2d(before, after, 1)
        self.gain = nn.Parameter(torch.full((1, after, 1, 1), 0.3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.second(functional.leaky_relu(self.first(x), 0.2))
        return functional.leaky_relu(self.skip(x) + self.gain * y, 0.2)


class FaceCritic(nn.Module):
    """Scores faces (n, 3, s, s) at several positions. Higher logits mean more real."""

    steps: torch.Tensor

    def __init__(self, widths: tuple[int, ...] = (24, 48, 72, 96, 128)) -> None:
        super().__init__()
        self.enter = nn.Conv2d(12, widths[0], 3, padding=1)
        pairs = zip(widths, (*widths[1:], widths[-1]), strict=True)
        self.stages = nn.ModuleList([_Block(before, after) for before, after in pairs])
        self.leave = nn.Conv2d(widths[-1], 1, 1)
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Return logits (n, positions) and the feature maps of each stage."""
        x = self.enter(functional.pixel_unshuffle(x, 2))
        features = []
        for level, stage in enumerate(self.stages):
            x = stage(functional.avg_pool2d(x, 2) if level else x)
            features.append(x)
        return self.leave(x).float().flatten(1), features


def _seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
