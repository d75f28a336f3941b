"""The attribute network: crop -> age, sex, group."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import nn
from torch.nn import functional

from styleid.lab.data.pack import GROUPS
from styleid.lab.networks.identity import IdentityConfig, face_trunk

YEARS = 101
_LEFT_OUT = 0.075


@dataclass(frozen=True)
class AttributesConfig:
    """Shape of the network.

    Attributes:
        size_px: Side of the crop.
        view_px: Side of the view that is cut from the crop, divisible by 16.
        trunk: Shape of the convolutions.
    """

    size_px: int = 160
    view_px: int = 96
    trunk: IdentityConfig = field(default_factory=IdentityConfig)

    def __post_init__(self) -> None:
        if self.view_px % 16 or self.view_px < 16:
            raise ValueError(f"view_px must be positive and divisible by 16, not {self.view_px}.")

    @property
    def margin_px(self) -> int:
        """Margin of the crop outside the view, in pixels. Faces in the view are as large as in the recogniser's."""
        return round(_LEFT_OUT * self.size_px)


class AttributesNet(nn.Module):
    """Estimates age, sex and group.

    Input: float (n, 3, s, s) in [-1, 1]. Output: (n, 7): age in years, P(female), P(group) x 5.
    """

    def __init__(self, config: AttributesConfig | None = None) -> None:
        super().__init__()
        self.config = config or AttributesConfig()
        self.trunk, width = face_trunk(self.config.trunk), self.config.trunk.widths[-1]
        self.drop = nn.Dropout(0.2)
        self.heads = nn.Linear(width, YEARS + 1 + len(GROUPS))

    def logits(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return logits of ages in years (n, 101), of female (n,) and of groups (n, 5)."""
        inside, side = slice(self.config.margin_px, x.shape[-1] - self.config.margin_px), self.config.view_px
        view = functional.interpolate(x[..., inside, inside], (side, side), mode="bilinear", align_corners=False)
        x = self.trunk(view).mean((2, 3))
        x = self.heads(self.drop(x)).float()
        return x[:, :YEARS], x[:, YEARS], x[:, YEARS + 1 :]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return age in years, P(female) and P(group), (n, 7)."""
        years, female, group = self.logits(x)
        age = mean_age(years)
        return torch.cat([age[:, None], female.sigmoid()[:, None], group.softmax(1)], 1)


def mean_age(years: torch.Tensor) -> torch.Tensor:
    """Return the mean age (n,) of logits of ages in years (n, 101)."""
    return (years.softmax(1) * torch.arange(YEARS, dtype=torch.float32, device=years.device)).sum(1)
