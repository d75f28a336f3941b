"""StyleID's latent swapper, which computes the target's share of each number of W+.

Convention
----------
source, target: W+, (n, rows, width). Output: the target's share, (n, rows, width) in [0, 1].
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

from styleid.errors import TrainingError
from styleid.lab.networks.stylegan2 import EqualLinear

LEVELS = {"coarse": (0, 5), "identity": (5, 8), "medium": (8, 12), "fine": (12, 18)}
"""First row and the row after the last of each of StyleID's levels."""


@dataclass(frozen=True)
class MapperConfig:
    """Shape of a mapper.

    Attributes:
        width: Width of W+.
        locked: Take the identity rows completely from the target, as upstream does.
    """

    width: int = 512
    locked: bool = True

    @classmethod
    def of_state(cls, state: Mapping[str, torch.Tensor]) -> MapperConfig:
        """Infer the shape from a state dict; raises TrainingError if it is no mapper's."""
        try:
            return cls(state["course_mapping.mapping.2.weight"].shape[0])
        except (KeyError, IndexError) as error:
            raise TrainingError(f"These tensors are not those of a mapper ({error}).") from error


class _AxisNorm(nn.Module):
    """Scales (n, rows, width) to a mean square of 1 over an axis. Upstream's PixelNorm uses axis 1, the rows."""

    def __init__(self, axis: int) -> None:
        super().__init__()
        self.axis = axis

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * torch.rsqrt(x.square().mean(self.axis, keepdim=True) + 1e-8)


class _Activated(nn.Module):
    """`EqualLinear` on the last axis of (n, rows, before), with leaky ReLU and upstream's gain."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        linear = EqualLinear(before, after, lr_mul=0.01)
        self.weight, self.bias = linear.weight, linear.bias
        self.scale, self.lr_mul = linear.scale, linear.lr_mul

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = nn.functional.linear(x, self.weight * self.scale, self.bias * self.lr_mul)
        return nn.functional.leaky_relu(x, 0.2) * 2**0.5


class MapperLevel(nn.Module):
    """Weighs source against target in the rows of one level.

    Args:
        width: Width of W+.
        axis: Axis of the normalisation, 1 (over rows), as upstream does, or 2 (over the numbers of a row).
    """

    def __init__(self, width: int, axis: int = 1) -> None:
        super().__init__()
        self.mapping = nn.Sequential(_AxisNorm(axis), _Activated(2 * width, width), _Activated(width, width))

    def forward(self, source: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Return the target's share, (n, rows, width)."""
        return torch.sigmoid(self.mapping(torch.cat([source, target], 2)))


class LevelsMapper(nn.Module):
    """Weighs source against target, level by level. The rows of a level share weights."""

    def __init__(self, config: MapperConfig | None = None) -> None:
        super().__init__()
        self.config = config or MapperConfig()
        self.course_mapping, self.medium_mapping, self.fine_mapping = (MapperLevel(self.config.width) for _ in range(3))

    def forward(self, source: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Return the target's share, (n, rows, width)."""
        identity, medium, fine = LEVELS["identity"][0], LEVELS["medium"][0], LEVELS["fine"][0]
        start = medium if self.config.locked else identity
        parts = [self.course_mapping(source[:, :identity], target[:, :identity])]
        if self.config.locked:
            parts.append(torch.ones_like(source[:, identity:medium]))
        if source.shape[1] > start:
            parts.append(self.medium_mapping(source[:, start:fine], target[:, start:fine]))
        if source.shape[1] > fine:
            parts.append(self.fine_mapping(source[:, fine:], target[:, fine:]))
        return torch.cat(parts, 1)
