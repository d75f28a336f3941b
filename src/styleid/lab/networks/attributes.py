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
    """Shape the network: crop side, side of the view that it looks at, and the convolutions' widths and blocks."""

    size_px: int = 160
    view_px: int = 96
    trunk: IdentityConfig = field(default_factory=IdentityConfig)

    def __post_init__(self) -> None:
        if self.view_px % 16 or self.view_px < 16:
            raise ValueError(f"The attribute network's view needs a side divisible by 16, not {self.view_px}.")

    @property
    def margin_px(self) -> int:
        """What of the crop the view leaves out on each side; the rest holds faces as large as the recogniser's view."""
        return round(_LEFT_OUT * self.size_px)


class AttributesNet(nn.Module):
    """Describe faces. Input: float (n, 3, s, s) in [-1, 1]. Output: (n, 7): age in years, P(female), P(group) x 5."""

    def __init__(self, config: AttributesConfig | None = None) -> None:
        super().__init__()
        self.config = config or AttributesConfig()
        self.trunk, width = face_trunk(self.config.trunk), self.config.trunk.widths[-1]
        self.drop = nn.Dropout(0.2)
        self.heads = nn.Linear(width, YEARS + 1 + len(GROUPS))

    def logits(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return logits of years (n, 101), of female (n,) and of groups (n, 5)."""
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
    """Read (n, 101) logits of years as the mean of their distribution, (n,)."""
    return (years.softmax(1) * torch.arange(YEARS, dtype=torch.float32, device=years.device)).sum(1)
