"""The appearance encoder: the visible face -> a small code of what a recogniser does not tell, such as skin and age.

It is trained with the context generator. The code is narrow and bounded, and its input has lost its light's colour and
brightness, so that it describes a person and not a photo.
"""

from __future__ import annotations

import torch
from torch import nn

SIDE = 64
_WIDTHS = (24, 48, 72, 96)


class AppearanceEncoder(nn.Module):
    """Encode faces.

    Input: float (n, 4, 64, 64), RGB in [-1, 1] that is 0 outside the visible face, and where the face is visible, in
    [0, 1]. Output: (n, numbers) in (-1, 1).
    """

    def __init__(self, numbers: int = 16, widths: tuple[int, ...] = _WIDTHS) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = 4
        for after in widths:
            layers += [nn.Conv2d(before, after, 3, 2, 1), nn.LeakyReLU(0.2, inplace=True)]
            before = after
        self.trunk = nn.Sequential(*layers)  # (n, widths[-1], 4, 4)
        self.code = nn.Linear(before, numbers)

    def forward(self, faces: torch.Tensor) -> torch.Tensor:
        """Return codes (n, numbers)."""
        return torch.tanh(self.code(self.trunk(faces).mean((2, 3))).float())
