"""StyleGAN2's discriminator (residual, minibatch standard deviation), with rosinality's tensor names.

By default it is twice as wide as its generator. It is not shipped. Its features serve as a perceptual distance for the
training of the inverter.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import nn
from torch.nn import functional

from styleid.errors import TrainingError
from styleid.lab.networks.stylegan2 import Blur, EqualLinear, GeneratorConfig, activate, single, upstream_channels


@dataclass(frozen=True)
class DiscriminatorConfig:
    """Shape of a discriminator.

    Attributes:
        resolution: Side of the image, a power of two of at least 8.
        channels: Feature channels by side, from 4 to `resolution`.
        group: Largest number of images over which the minibatch standard deviation is computed.

    Raises:
        ValueError: If a value is out of range or a side has no channels.
    """

    resolution: int = 1024
    channels: Mapping[int, int] = field(default_factory=upstream_channels)
    group: int = 4

    def __post_init__(self) -> None:
        GeneratorConfig(self.resolution, channels=self.channels)
        if self.group < 1:
            raise ValueError(f"group must be at least 1, not {self.group}.")

    @classmethod
    def beside(cls, generator: GeneratorConfig, wider: float = 2.0, most: int = 512) -> DiscriminatorConfig:
        """Return the shape of a discriminator for a generator.

        Args:
            generator: The generator's shape.
            wider: The discriminator's channels divided by the generator's.
            most: Upper limit of the channels.
        """
        wide = {side: min(round(generator.channels[side] * wider), most) for side in generator.sides}
        return cls(generator.resolution, wide)

    @classmethod
    def of_state(cls, state: Mapping[str, torch.Tensor]) -> DiscriminatorConfig:
        """Infer the shape from a state dict, ours or upstream's; raises TrainingError if it is no discriminator's."""
        try:
            channels, side = {4: state["final_conv.0.weight"].shape[0]}, 4
            blocks = sum(name.startswith("convs.") and name.endswith(".skip.1.weight") for name in state)
            for number in range(blocks, 0, -1):
                side *= 2
                channels[side] = state[f"convs.{number}.skip.1.weight"].shape[1]
            return cls(side, channels)
        except (KeyError, IndexError, ValueError) as error:
            raise TrainingError(f"These tensors are not those of a StyleGAN2 discriminator ({error}).") from error


class Discriminator(nn.Module):
    """Scores images, float (n, 3, resolution, resolution) in [-1, 1]. Higher scores mean more real."""

    def __init__(self, config: DiscriminatorConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or DiscriminatorConfig()
        sides = GeneratorConfig(config.resolution, channels=config.channels).sides[::-1]
        c = config.channels
        blocks = [_Residual(c[side], c[side // 2]) for side in sides[:-1]]
        self.convs = nn.Sequential(_layer(3, c[config.resolution], 1), *blocks)
        self.final_conv = _layer(c[4] + 1, c[4], 3)
        self.final_linear = nn.Sequential(EqualLinear(c[4] * 16, c[4], activated=True), EqualLinear(c[4], 1))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return a score for each image, float32 (n,)."""
        x = self.convs(images)  # (n, c4, 4, 4)
        x = self.final_conv(torch.cat([x, self._spread(x)], 1))
        return self.final_linear(x.flatten(1))[:, 0]

    def features(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Return the feature maps at each side below the resolution, (n, channels, side, side), largest first."""
        first, *blocks = self.convs.children()
        x, found = first(images), []
        for block in blocks:
            x = block(x)
            found.append(x)
        return found

    def _spread(self, x: torch.Tensor) -> torch.Tensor:
        """Return the mean standard deviation within each group of images as a channel, (n, 1, 4, 4)."""
        n, _, height, width = x.shape
        size = math.gcd(n, self.config.group)
        with single(x):
            grouped = x.float().reshape(size, n // size, -1)
            spread = (grouped.var(0, unbiased=False) + 1e-8).sqrt().mean(1)  # (n / size,)
        return spread.repeat(size).to(x.dtype).view(n, 1, 1, 1).expand(n, 1, height, width)


class _EqualConv2d(nn.Module):
    def __init__(self, before: int, after: int, kernel: int, stride: int = 1, padding: int = 0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(after, before, kernel, kernel))
        self.scale, self.stride, self.padding = 1 / math.sqrt(before * kernel * kernel), stride, padding

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.conv2d(x, self.weight * self.scale, stride=self.stride, padding=self.padding)


class _Bias(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return activate(x, self.bias)


def _layer(before: int, after: int, kernel: int) -> nn.Sequential:
    return nn.Sequential(_EqualConv2d(before, after, kernel, padding=kernel // 2), _Bias(after))


class _Residual(nn.Module):
    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.conv1 = _layer(before, before, 3)
        self.conv2 = nn.Sequential(Blur(2), _EqualConv2d(before, after, 3, stride=2), _Bias(after))
        self.skip = nn.Sequential(Blur(1, stride=2), _EqualConv2d(before, after, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (self.conv2(self.conv1(x)) + self.skip(x)) / math.sqrt(2)
