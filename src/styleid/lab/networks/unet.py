"""The parsing network of the public StyleID release: a U-Net (Ronneberger et al. 2015) over CelebAMask-HQ's classes.

Convention
----------
Images are float (n, 3, h, w), RGB in [-1, 1], sides a multiple of 16; upstream runs it at 512 px. Logits are
(n, 19, h, w).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from styleid.errors import TrainingError

SIDE_PX = 512


@dataclass(frozen=True)
class UNetConfig:
    """Shape of the network.

    Attributes:
        widths: Channels at 1, 1/2, 1/4, 1/8 and 1/16 of the side.
        classes: Number of classes.
    """

    widths: tuple[int, ...] = (16, 32, 64, 128, 256)
    classes: int = 19

    def __post_init__(self) -> None:
        if len(self.widths) != 5:
            raise ValueError(f"widths must have 5 numbers, not {len(self.widths)}.")

    @classmethod
    def of_state(cls, state: Mapping[str, torch.Tensor]) -> UNetConfig:
        """Infer the shape from a state dict; raises TrainingError if it is not this network's."""
        try:
            names = ["conv1", "conv2", "conv3", "conv4", "center"]
            widths = tuple(state[f"{name}.conv1.0.weight"].shape[0] for name in names)
            return cls(widths, state["final.weight"].shape[0])
        except (KeyError, IndexError) as error:
            raise TrainingError(f"These tensors are not those of the parsing network ({error}).") from error


class _Double(nn.Module):
    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.conv1 = nn.Sequential(nn.Conv2d(before, after, 3, 1, 1), nn.BatchNorm2d(after), nn.ReLU())
        self.conv2 = nn.Sequential(nn.Conv2d(after, after, 3, 1, 1), nn.BatchNorm2d(after), nn.ReLU())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv2(self.conv1(x))


class _Up(nn.Module):
    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.conv = _Double(2 * after, after)
        self.up = nn.ConvTranspose2d(before, after, 2, 2)

    def forward(self, beside: torch.Tensor, below: torch.Tensor) -> torch.Tensor:
        return self.conv(torch.cat([beside, self.up(below)], 1))


class ParsingUNet(nn.Module):
    """Labels the pixels of a face; see the module's convention."""

    def __init__(self, config: UNetConfig | None = None) -> None:
        super().__init__()
        self.config = config or UNetConfig()
        a, b, c, d, e = self.config.widths
        self.conv1, self.conv2, self.conv3 = _Double(3, a), _Double(a, b), _Double(b, c)
        self.conv4, self.center = _Double(c, d), _Double(d, e)
        self.up_concat4, self.up_concat3 = _Up(e, d), _Up(d, c)
        self.up_concat2, self.up_concat1 = _Up(c, b), _Up(b, a)
        self.final = nn.Conv2d(a, self.config.classes, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits (n, 19, h, w) of images (n, 3, h, w)."""
        whole = self.conv1(x)
        half = self.conv2(functional.max_pool2d(whole, 2))
        quarter = self.conv3(functional.max_pool2d(half, 2))
        eighth = self.conv4(functional.max_pool2d(quarter, 2))
        x = self.center(functional.max_pool2d(eighth, 2))
        x = self.up_concat3(quarter, self.up_concat4(eighth, x))
        return self.final(self.up_concat1(whole, self.up_concat2(half, x)))
