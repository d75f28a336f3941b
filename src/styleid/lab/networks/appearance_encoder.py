"""The appearance encoder: the visible face -> a short code of what an embedding does not contain, such as skin and age.

It is trained with the context generator. The code is short and bounded, and the input is normalised in colour and
contrast, so that the code describes the person and not the photo.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

SIDE = 64
_WIDTHS = (24, 48, 72, 96)


class AppearanceEncoder(nn.Module):
    """Encodes faces.

    Input: float (n, 4, 64, 64): normalised RGB (`without_light`), 0 outside the visible face, and the visible face as a
    mask in [0, 1]. Output: (n, numbers) in (-1, 1).

    Args:
        numbers: Length of the code.
        widths: Channels of the convolutions, each of which halves the side.
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
    """Return images with mean colour 0 and normalised contrast inside a mask, and 0 outside.

    Args:
        images: (n, 3, s, s) in [-1, 1].
        visible: (n, 1, s, s) in [0, 1].

    Returns:
        (n, 3, s, s) with a standard deviation of a third inside the mask, or less for very flat images.
    """
    area = visible.sum((2, 3), keepdim=True).clamp_min(1)
    centred = (images - (images * visible).sum((2, 3), keepdim=True) / area) * visible
    spread = (centred.square().mean(1, keepdim=True).sum((2, 3), keepdim=True) / area).sqrt()
    return centred / spread.clamp_min(0.05) / 3


class AppearanceView(nn.Module):
    """Computes the encoder's input from crops of side `crop_px`.

    Crops are scaled down by area averaging. A pixel counts as visible if more than half of its area is.
    """

    average: torch.Tensor

    def __init__(self, crop_px: int) -> None:
        super().__init__()
        every_pixel = torch.eye(crop_px)[None]
        self.register_buffer("average", functional.adaptive_avg_pool1d(every_pixel, SIDE)[0].T.contiguous())

    def forward(self, crop: torch.Tensor, visible: torch.Tensor) -> torch.Tensor:
        """Return the encoder's input (n, 4, 64, 64), for crops (n, 3, s, s) in [-1, 1] and masks (n, 1, s, s)."""
        small = self.average @ torch.cat([crop, visible], 1) @ self.average.T
        shown = (small[:, 3:] > 0.5).to(small.dtype)
        return torch.cat([without_light(small[:, :3], shown), shown], 1)
