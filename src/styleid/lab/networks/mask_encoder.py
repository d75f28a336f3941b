"""The mask encoder of the appearance model: labels -> W+, for the method pixel."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from styleid.lab.networks.aam import EXPRESSION_ROW, SHAPE_EXPRESSIONS, SHAPE_ROW, ActiveAppearanceModel
from styleid.lab.networks.parser import CLASSES
from styleid.lab.networks.wrappers import OneHot


@dataclass(frozen=True)
class MaskEncoderConfig:
    """Shape of the network.

    Attributes:
        side_px: Side of the label map, divisible by 16.
        widths: Channels at 1/2, 1/4, 1/8 and 1/16 of the side.
        pooled: Channels at 1/16 of the side that the last layer uses.
        layers: Rows of W+.
        width: Width of W+.
        shape_rows: Rows of the shape.
    """

    side_px: int = 80
    widths: tuple[int, ...] = (32, 64, 96, 128)
    pooled: int = 32
    layers: int = 59
    width: int = 8
    shape_rows: int = 6

    def __post_init__(self) -> None:
        if self.side_px % 16 or len(self.widths) != 4:
            raise ValueError(f"side_px must be divisible by 16 and widths must be four numbers, not {self}.")

    @classmethod
    def of(cls, model: ActiveAppearanceModel) -> MaskEncoderConfig:
        """Return the shape that fits an appearance model."""
        own = model.config
        return cls(own.size_px // 2, layers=own.layers, width=own.width, shape_rows=own.shape_rows)


class MaskEncoder(nn.Module):
    """Computes W+ from label maps: pose, placement, expression and shape. All other numbers are 0."""

    def __init__(self, config: MaskEncoderConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or MaskEncoderConfig()
        widths = (CLASSES, *config.widths)
        stages = [_down(a, b) for a, b in zip(widths, config.widths, strict=False)]
        channels = config.width * (SHAPE_ROW - 2 + config.shape_rows)
        last = nn.Linear(config.pooled * (config.side_px // 16) ** 2, channels)
        nn.init.normal_(last.weight, std=0.01)
        nn.init.zeros_(last.bias)
        read = nn.Sequential(*stages, nn.Conv2d(widths[-1], config.pooled, 1), nn.ReLU(), nn.Flatten(), last)
        self.network = OneHot(read, CLASSES)

    def forward(self, labels: torch.Tensor) -> torch.Tensor:
        """Return W+ (n, layers, width) of label maps (n, side, side)."""
        rows = self.network(labels).float().unflatten(1, (-1, self.config.width))
        before, shape = rows[:, : EXPRESSION_ROW + 1], rows[:, EXPRESSION_ROW + 1 :]
        seen = torch.arange(self.config.width, device=rows.device) < SHAPE_EXPRESSIONS
        before = torch.cat([before[:, :EXPRESSION_ROW], before[:, EXPRESSION_ROW:] * seen], 1)
        unknown = torch.zeros_like(rows[:, :1])
        between = unknown.expand(-1, SHAPE_ROW - EXPRESSION_ROW - 1, -1)
        after = unknown.expand(-1, self.config.layers - SHAPE_ROW - self.config.shape_rows, -1)
        return torch.cat([before, between, shape, after], 1)


def _down(before: int, after: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels, stride in ((before, 2), (after, 1)):
        layers += [nn.Conv2d(channels, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
    return nn.Sequential(*layers)
