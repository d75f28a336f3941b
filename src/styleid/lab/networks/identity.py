"""The identity network: aligned face -> unit embedding."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from styleid.faces.align import CropTemplate

TEMPLATE = CropTemplate.arcface112()


@dataclass(frozen=True)
class IdentityConfig:
    """Shape of the network.

    Attributes:
        widths: Channels of the stages at 56, 28, 14 and 7 px.
        blocks: Number of blocks of each stage.
        embedding: Length of the embedding.
    """

    widths: tuple[int, ...] = (32, 64, 128, 192)
    blocks: tuple[int, ...] = (1, 2, 4, 1)
    embedding: int = 128

    def __post_init__(self) -> None:
        if len(self.widths) != 4 or len(self.blocks) != 4 or min(self.blocks) < 1:
            raise ValueError(
                "widths and blocks must have four numbers, and blocks must be at least 1, not "
                f"{self.widths} and {self.blocks}."
            )


class IdentityNet(nn.Module):
    """Embeds faces.

    Input: float (n, 3, 112, 112) in [-1, 1], RGB, under `CropTemplate.arcface112`. Output: (n, embedding), unit length.
    """

    def __init__(self, config: IdentityConfig | None = None) -> None:
        super().__init__()
        self.config = config or IdentityConfig()
        self.trunk, width = face_trunk(self.config), self.config.widths[-1]  # (n, width, 7, 7)
        self.pool = _conv(width, width, 7, 1, padding=0, groups=width)
        self.project = nn.Linear(width, self.config.embedding)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return unit embeddings, (n, embedding)."""
        x = self.pool(self.trunk(x)).flatten(1)
        return functional.normalize(self.project(x).float())


def face_trunk(config: IdentityConfig) -> nn.Sequential:
    """Return the convolutions from images (n, 3, h, w) in [-1, 1] to features (n, widths[-1], h/16, w/16)."""
    width = config.widths[0]
    layers: list[nn.Module] = [_conv(3, width, 3, 2), nn.LeakyReLU(0.1, inplace=True)]
    for stage, (after, blocks) in enumerate(zip(config.widths, config.blocks, strict=True)):
        for block in range(blocks):
            layers.append(_Residual(width, after, 2 if stage and not block else 1))
            width = after
    return nn.Sequential(*layers)


class _Residual(nn.Module):
    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        act = nn.LeakyReLU(0.1, inplace=True)
        self.body = nn.Sequential(_conv(before, after, 3, stride), act, _conv(after, after, 3, 1))
        same = stride == 1 and before == after
        self.skip = nn.Identity() if same else nn.Sequential(nn.AvgPool2d(stride), _conv(before, after, 1, 1))
        self.act = nn.LeakyReLU(0.1, inplace=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.act(self.body(x) + self.skip(x))


def _conv(
    before: int, after: int, kernel: int, stride: int, *, padding: int | None = None, groups: int = 1
) -> nn.Sequential:
    pad = kernel // 2 if padding is None else padding
    conv = nn.Conv2d(before, after, kernel, stride, pad, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(after))
