"""The context generator's discriminator, which scores whether a crop is a photo that fits its lines.

It has residual blocks, the minibatch standard deviation (Karras et al. 2018), a score for the crop and scores for
patches on a 16 x 16 grid. It is not shipped.

Convention
----------
Input maps are float (n, 6, s, s), s = 64, 128 or 256: RGB in [-1, 1], two line maps and the region in [0, 1].
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from styleid.errors import TrainingError

MAPS = 6
SIDES = (64, 128, 256)
_SLOPE = 0.2


@dataclass(frozen=True)
class ContextDiscriminatorConfig:
    """Shape of a discriminator.

    Attributes:
        side: Side of the crop, 64, 128 or 256 px.
        channels: Channels at 128, 64, 32, 16 and 8 px.

    Raises:
        ValueError: If the side is another.
    """

    side: int = 128
    channels: tuple[int, int, int, int, int] = (24, 48, 96, 160, 256)

    def __post_init__(self) -> None:
        if self.side not in SIDES:
            raise ValueError(f"side must be one of {SIDES}, not {self.side}.")


class ContextDiscriminator(nn.Module):
    """Scores crops and their patches. Higher scores mean more like a photo."""

    def __init__(self, config: ContextDiscriminatorConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or ContextDiscriminatorConfig()
        c128, c64, c32, c16, c8 = config.channels
        self.stem32 = nn.Conv2d(4 * MAPS, c32, 3, padding=1)  # of 64 px, folded by two
        if config.side >= 128:
            self.stem64, self.b64 = _Conv(4 * MAPS, c64), _Block(c64, c32)
        if config.side >= 256:
            self.stem128, self.b128 = _Conv(4 * MAPS, c128), _Block(c128, c64, starts_at_zero=True)
        self.b32, self.b16, self.b8 = _Block(c32, c16), _Block(c16, c8), _Block(c8, c8)
        self.p = nn.Conv2d(c16, 1, 1)
        self.f = _Conv(c8 + 1, c8)
        self.l = nn.Sequential(nn.Linear(16 * c8, c8), nn.LeakyReLU(_SLOPE), nn.Linear(c8, 1))

    def forward(self, maps: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return scores of crops (n,) and of patches (n, 256), for maps (n, 6, s, s)."""
        features = self.features(maps)
        x = features[-1]  # (n, c8, 4, 4)
        spread = x.float().var(0, unbiased=False).add(1e-8).sqrt().mean().to(x.dtype)
        x = self.f(torch.cat([x, spread.expand(x.shape[0], 1, 4, 4)], 1))
        return self.l(x.flatten(1))[:, 0].float(), self.p(features[-3]).flatten(1).float()

    def features(self, maps: torch.Tensor) -> list[torch.Tensor]:
        """Return the feature maps of maps (n, 6, s, s), largest first; the last three have 16, 8 and 4 px."""
        found: list[torch.Tensor] = []
        finer: torch.Tensor | None = None
        if self.config.side >= 256:
            finer = self.b128(self.stem128(functional.pixel_unshuffle(maps, 2)))  # (n, c64, 64, 64)
            maps = functional.avg_pool2d(maps, 2)
        if self.config.side >= 128:
            x = self.stem64(functional.pixel_unshuffle(maps, 2), finer)
            found.append(self.b64(x))  # (n, c32, 32, 32)
            finer = found[0]
            maps = functional.avg_pool2d(maps, 2)
        x = self.stem32(functional.pixel_unshuffle(maps, 2))
        x = x if finer is None else x + finer
        for block in (self.b32, self.b16, self.b8):  # to 16, 8 and 4 px
            x = block(x)
            found.append(x)
        return found


class _Conv(nn.Module):
    def __init__(self, before: int, after: int, stride: int = 1) -> None:
        super().__init__()
        self.c = nn.Conv2d(before, after, 3, stride, 1)

    def forward(self, x: torch.Tensor, more: torch.Tensor | None = None) -> torch.Tensor:
        x = functional.leaky_relu(self.c(x), _SLOPE, inplace=True)
        return x if more is None else x + more


class _Block(nn.Module):
    """A residual block that halves the side."""

    def __init__(self, before: int, after: int, *, starts_at_zero: bool = False) -> None:
        super().__init__()
        self.a, self.b = _Conv(before, before), _Conv(before, after, stride=2)
        self.k = nn.Conv2d(before, after, 1)
        if starts_at_zero:
            for layer in (self.b.c, self.k):
                nn.init.zeros_(layer.weight)
                nn.init.zeros_(layer.bias)  # pyright: ignore[reportArgumentType] # these convolutions have one

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.b(self.a(x), self.k(functional.avg_pool2d(x, 2)))


def load_weights(discriminator: ContextDiscriminator, tensors: Mapping[str, torch.Tensor]) -> None:
    """Load the tensors of a discriminator of the same or another side.

    Finer stages stay as they are if the tensors lack them. Stages that are finer than this discriminator's are ignored.

    Args:
        discriminator: The discriminator, changed in place.
        tensors: A discriminator's state dict.

    Raises:
        TrainingError: If another tensor is missing, unknown or of another shape.
    """
    own, side = discriminator.state_dict(), discriminator.config.side
    finer = {least: parts for least, parts in _FINER.items() if least > side}
    skipped = tuple(part for parts in finer.values() for part in parts)
    given = {name: value.float() for name, value in tensors.items() if name.split(".")[0] not in skipped}
    optional = tuple(part for parts in _FINER.values() for part in parts)
    strange = [name for name, value in given.items() if name not in own or own[name].shape != value.shape]
    missing = [name for name in own if name not in given and name.split(".")[0] not in optional]
    if wrong := sorted(strange + missing):
        raise TrainingError(
            f"These are not the tensors of a context discriminator of this size; the first that differ: "
            f"{', '.join(wrong[:5])}."
        )
    discriminator.load_state_dict(own | given)


_FINER = {128: ("stem64", "b64"), 256: ("stem128", "b128")}
"""Modules that only discriminators of at least this side have."""
