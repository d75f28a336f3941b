"""The appearance encoder: the visible face -> a small code of what a recogniser does not tell, such as skin and age.

It is trained with the context generator. The code is narrow and bounded, and its input has lost its light's colour and
brightness, so that it describes a person and not a photo.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

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


def without_light(images: torch.Tensor, visible: torch.Tensor) -> torch.Tensor:
    """Return what is visible of images (n, 3, s, s), its colours' means taken out and its contrast made 1, else 0."""
    area = visible.sum((2, 3), keepdim=True).clamp_min(1)
    centred = (images - (images * visible).sum((2, 3), keepdim=True) / area) * visible
    spread = (centred.square().mean(1, keepdim=True).sum((2, 3), keepdim=True) / area).sqrt()
    return centred / spread.clamp_min(0.05) / 3


class AppearanceView(nn.Module):
    """Make the encoder's input (n, 4, 64, 64) of crops (n, 3, s, s) in [-1, 1] and their visible face (n, 1, s, s).

    Crops are averaged down; what counts as visible is more than half so.
    """

    average: torch.Tensor

    def __init__(self, crop_px: int) -> None:
        super().__init__()
        every_pixel = torch.eye(crop_px)[None]
        self.register_buffer("average", functional.adaptive_avg_pool1d(every_pixel, SIDE)[0].T.contiguous())

    def forward(self, crop: torch.Tensor, visible: torch.Tensor) -> torch.Tensor:
        """Return the encoder's input."""
        small = self.average @ torch.cat([crop, visible], 1) @ self.average.T
        shown = (small[:, 3:] > 0.5).to(small.dtype)
        return torch.cat([without_light(small[:, :3], shown), shown], 1)
