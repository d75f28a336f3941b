"""The attribute network of the public StyleID release: a MobileNet (Howard et al. 2017) with Mish and 40 attributes.

Convention
----------
Images are float (n, 3, 256, 256), RGB in [-1, 1]. Attributes are (n, 40) in [0, 1], in the order of list_attr_celeba.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

from styleid.errors import TrainingError

MALE, YOUNG = 20, 39
_STRIDES = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1)
_POOL = 7
SIDE_PX = 256


@dataclass(frozen=True)
class MobileNetConfig:
    """Shape of the network.

    Attributes:
        widths: Channels after the first convolution and after each of the 13 blocks.
        attributes: Number of attributes.
    """

    widths: tuple[int, ...] = (32, 64, 128, 128, 256, 256, *[512] * 6, 1024, 1024)
    attributes: int = 40

    def __post_init__(self) -> None:
        if len(self.widths) != len(_STRIDES) + 1:
            raise ValueError(f"widths must have {len(_STRIDES) + 1} numbers, not {len(self.widths)}.")

    @classmethod
    def of_state(cls, state: Mapping[str, torch.Tensor]) -> MobileNetConfig:
        """Infer the shape from a state dict; raises TrainingError if it is not this network's."""
        try:
            blocks = [state[f"features.{number}.3.weight"].shape[0] for number in range(1, len(_STRIDES) + 1)]
            return cls((state["features.0.0.weight"].shape[0], *blocks), state["fc.weight"].shape[0])
        except (KeyError, IndexError) as error:
            raise TrainingError(f"These tensors are not those of the attribute network ({error}).") from error


class AttributeMobileNet(nn.Module):
    """Estimates 40 attributes of a face; see the module's convention."""

    def __init__(self, config: MobileNetConfig | None = None) -> None:
        super().__init__()
        self.config = config or MobileNetConfig()
        widths = self.config.widths
        blocks = [_separable(*pair) for pair in zip(widths, widths[1:], _STRIDES, strict=False)]
        first = nn.Sequential(nn.Conv2d(3, widths[0], 3, 2, 1, bias=False), nn.BatchNorm2d(widths[0]), nn.Mish())
        self.features = nn.Sequential(first, *blocks, nn.AvgPool2d(_POOL))
        self.fc = nn.Linear(widths[-1], self.config.attributes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the probabilities of the attributes, (n, 40)."""
        return torch.sigmoid(self.fc(self.features(x).flatten(1)))


def _separable(before: int, after: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, before, 3, stride, 1, groups=before, bias=False),
        nn.BatchNorm2d(before),
        nn.Mish(),
        nn.Conv2d(before, after, 1, bias=False),
        nn.BatchNorm2d(after),
        nn.Mish(),
    )
