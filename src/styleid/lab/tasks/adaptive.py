"""Adaptive discriminator augmentation (Karras et al. 2020, "Training GANs with limited data").

Real and generated images are augmented in the same way before the discriminator gets them, each augmentation with
probability p. p rises while the discriminator overfits (the mean sign of its scores on training images exceeds the
target) and falls otherwise. p and the mean sign are buffers, so checkpoints include them, and they are updated without
synchronisation with the device.

Convention
----------
Images are float (n, 3, s, s), about [-1, 1]. Matrices are (n, 3, 3) and map **output to input** points in the units of
`torch.nn.functional.affine_grid` (the image spans [-1, 1], align_corners false). Images are mirrored at their border.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from styleid.lab.networks.stylegan2 import single

_LUMA = 1 / math.sqrt(3)


@dataclass(frozen=True)
class AdaptiveOptions:
    """Options of the adaptive augmentation.

    Attributes:
        target: Mean sign of the scores on real images to keep, between -1 and 1.
        images: Number of images after which p has changed by 1.
        most: Upper limit of p, below 1; 0 turns the adaptation off.
        start: Initial p.

    Raises:
        ValueError: If a value is out of range.
    """

    target: float = 0.6
    images: int = 200_000
    most: float = 0.8
    start: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.start <= self.most < 1:
            raise ValueError(f"0 <= start <= most < 1 must hold, but start is {self.start} and most is {self.most}.")
        if self.images < 1 or not -1 < self.target < 1:
            raise ValueError(
                f"images must be at least 1 and target between -1 and 1, not {self.images} and {self.target}."
            )


class AdaptiveAugment(nn.Module):
    """Augments images with an adaptive probability p, differentiably.

    Buffers: p, the probability; sign, the running mean sign of the scores on real images.
    """

    p: torch.Tensor
    sign: torch.Tensor

    def __init__(self, options: AdaptiveOptions | None = None) -> None:
        super().__init__()
        self.options = options = options or AdaptiveOptions()
        self.register_buffer("p", torch.tensor(options.start))
        self.register_buffer("sign", torch.tensor(options.target))

    def adapt(self, real_scores: torch.Tensor) -> None:
        """Update p from the discriminator's scores (n,) on augmented real images."""
        options = self.options
        if options.most == 0:
            return
        with torch.no_grad():
            self.sign.lerp_(real_scores.float().sign().mean(), 0.1)
            step = len(real_scores) / options.images
            self.p.add_((self.sign - options.target).sign() * step).clamp_(0, options.most)

    def forward(self, images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Return the augmented images, float32 of the same shape.

        Args:
            images: (n, 3, s, s).
            generator: CPU generator, source of random numbers.
        """
        n, device = len(images), images.device
        chances = torch.rand(n, 13, generator=generator).to(device, non_blocking=True)
        uniform = torch.rand(n, 9, generator=generator).to(device, non_blocking=True)
        normal = torch.randn(n, 6, generator=generator).to(device, non_blocking=True)
        with single(images):
            on = chances < self.p
            matrices = _geometry(on[:, :8], uniform[:, :8], normal[:, :2])
            grid = functional.affine_grid(matrices[:, :2], list(images.shape), align_corners=False)
            varied = functional.grid_sample(
                images.float(), grid, mode="bicubic", padding_mode="reflection", align_corners=False
            )
            colours = _colours(on[:, 8:], uniform[:, 8], normal[:, 2:])  # (n, 3, 4)
            flat = colours[:, :, :3] @ varied.flatten(2) + colours[:, :, 3:]
            return flat.view_as(varied)


def _geometry(on: torch.Tensor, uniform: torch.Tensor, normal: torch.Tensor) -> torch.Tensor:
    """Compose the enabled flips, quarter turns, shifts, scalings and rotations to matrices (n, 3, 3)."""
    signed = uniform * 2 - 1
    zero = torch.zeros_like(uniform[:, 0])
    flip = torch.where(on[:, 0] & (uniform[:, 0] < 0.5), -1.0, 1.0)
    quarter = torch.where(on[:, 1], (uniform[:, 1] * 4).floor() * (math.pi / 2), zero)
    shift = torch.where(on[:, 2, None], signed[:, 2:4] * 0.25, 0.0)
    zoom = torch.where(on[:, 3], torch.exp2(normal[:, 0] * 0.2), 1.0)
    before = torch.where(on[:, 4], signed[:, 4] * math.pi, zero)
    stretch = torch.where(on[:, 5], torch.exp2(normal[:, 1] * 0.2), 1.0)
    after = torch.where(on[:, 6], signed[:, 5] * math.pi, zero)
    fine = torch.where(on[:, 7, None], signed[:, 6:8] * 0.25, 0.0)
    turned = _affine(zoom * flip, zoom, shift) @ _turn(quarter + before)
    return turned @ _affine(stretch, 1 / stretch, fine) @ _turn(after)


def _affine(scale_x: torch.Tensor, scale_y: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
    zero, one = torch.zeros_like(scale_x), torch.ones_like(scale_x)
    rows = [scale_x, zero, shift[:, 0], zero, scale_y, shift[:, 1], zero, zero, one]
    return torch.stack(rows, 1).view(-1, 3, 3)


def _turn(angle: torch.Tensor) -> torch.Tensor:
    zero, one, c, s = torch.zeros_like(angle), torch.ones_like(angle), angle.cos(), angle.sin()
    return torch.stack([c, -s, zero, s, c, zero, zero, zero, one], 1).view(-1, 3, 3)


def _colours(on: torch.Tensor, uniform: torch.Tensor, normal: torch.Tensor) -> torch.Tensor:
    """Compose the enabled changes of brightness, contrast, luma flip, hue and saturation to matrices (n, 3, 4)."""
    eye = torch.eye(3, device=on.device)
    luma = torch.full((3, 3), 1 / 3, device=on.device)
    zero = torch.zeros_like(uniform)
    brightness = torch.where(on[:, 0], normal[:, 0] * 0.2, zero)
    contrast = torch.where(on[:, 1], torch.exp2(normal[:, 1] * 0.5), 1.0)
    flip = torch.where(on[:, 2] & (uniform < 0.5), 2.0, zero)
    angle = torch.where(on[:, 3], normal[:, 2].clamp(-3, 3) * (math.pi / 3), zero)
    saturation = torch.where(on[:, 4], torch.exp2(normal[:, 3]), 1.0)
    cross = torch.tensor([[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]], device=on.device) * _LUMA

    def each(value: torch.Tensor) -> torch.Tensor:
        return value[:, None, None]

    # hue: Rodrigues' rotation about the grey axis, applied after the luma flip (a reflection) and before the saturation
    hue = each(angle.cos()) * eye + each(angle.sin()) * cross + each(1 - angle.cos()) * luma
    mixed = (luma + (eye - luma) * each(saturation)) @ hue @ (eye - each(flip) * luma) * each(contrast)
    offset = mixed.sum(2, keepdim=True) * each(brightness)
    return torch.cat([mixed, offset], 2)
