"""The parser: crop -> face labels (CelebAMask-HQ classes) and 68 landmarks."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

CLASSES = 19
LANDMARKS = 68


@dataclass(frozen=True)
class ParserConfig:
    """Shape of the parser.

    Attributes:
        size_px: Side of the crop, divisible by 16.
        widths: Channels at 1/2, 1/4, 1/8 and 1/16 of the side.
    """

    size_px: int = 160
    widths: tuple[int, ...] = (24, 48, 96, 128)

    def __post_init__(self) -> None:
        if self.size_px % 16 or len(self.widths) != 4:
            raise ValueError(f"size_px must be divisible by 16 and widths must be four numbers, not {self}.")


class ParserNet(nn.Module):
    """Labels the pixels of crops and locates landmarks.

    Input: float (n, 3, s, s) in [-1, 1]. Output: label logits (n, 19, s/2, s/2) and landmarks (n, 68, 2) in pixels of
    the crop, pixel centres at integers. Landmarks are the means of heat maps at s/4 (Sun et al. 2018).
    """

    def __init__(self, config: ParserConfig | None = None) -> None:
        super().__init__()
        self.config = config or ParserConfig()
        w = self.config.widths
        self.down = nn.ModuleList(
            [
                nn.Sequential(_conv(3, w[0], stride=2), _conv(w[0], w[0])),
                nn.Sequential(_conv(w[0], w[1], stride=2), _Block(w[1])),
                nn.Sequential(_conv(w[1], w[2], stride=2), _Block(w[2]), _Block(w[2])),
                nn.Sequential(_conv(w[2], w[3], stride=2), _Block(w[3]), _Block(w[3])),
            ]
        )
        self.up = nn.ModuleList([_conv(w[i + 1] + w[i], w[i]) for i in range(3)])
        self.smooth = nn.ModuleList([_conv(w[i], w[i]) for i in range(3)])
        self.labels = nn.Conv2d(w[0], CLASSES, 1)
        self.heat = nn.Conv2d(w[1], LANDMARKS, 1)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return label logits (n, 19, s/2, s/2) and landmarks (n, 68, 2)."""
        features, x = self._quarter(x)
        landmarks = self.read_heat(self.heat(x).float())
        return self.labels(self._join(0, x, features)).float(), landmarks

    def locate(self, x: torch.Tensor) -> torch.Tensor:
        """Return only landmarks (n, 68, 2), which is faster."""
        return self.read_heat(self.heat(self._quarter(x)[1]).float())

    def _quarter(self, x: torch.Tensor) -> tuple[list[torch.Tensor], torch.Tensor]:
        """Return the encoder's features, and the decoder's features at s/4."""
        features = []
        for stage in self.down:
            x = stage(x)
            features.append(x)
        for i in (2, 1):
            x = self._join(i, x, features)
        return features, x

    def _join(self, i: int, x: torch.Tensor, features: list[torch.Tensor]) -> torch.Tensor:
        x = functional.interpolate(x, scale_factor=2.0, mode="nearest")
        return self.smooth[i](self.up[i](torch.cat([x, features[i]], 1)))

    def read_heat(self, heat: torch.Tensor) -> torch.Tensor:
        """Return the landmarks (n, 68, 2), in pixels of the crop, of heat maps (n, 68, s/4, s/4)."""
        side = self.config.size_px // 4
        weight = heat.flatten(2).softmax(2).reshape(-1, LANDMARKS, side, side)
        # the heat map covers 1.25 times the crop, so that landmarks can lie outside it
        ticks = (torch.arange(side, device=heat.device, dtype=heat.dtype) - (side - 1) / 2) * 4 * 1.25
        centre = (self.config.size_px - 1) / 2
        return torch.stack([(weight.sum(2) * ticks).sum(2), (weight.sum(3) * ticks).sum(2)], 2) + centre


def _conv(before: int, after: int, stride: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(before, after, 3, stride, 1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(after), nn.ReLU())


class _Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            _conv(width, width), nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x + self.body(x)).relu()
