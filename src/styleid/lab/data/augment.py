"""Augmented training views of a pack's crops, computed on the training device.

Convention
----------
Matrices are (n, 2, 3) and map **view to crop** pixels (the direction that resampling needs), pixel centres at integers.
Views are float32 (n, 3, size, size) in [-1, 1]. All random numbers come from the generator that is passed in and are
drawn on the CPU, so that a resumed run repeats them and devices agree.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from styleid.faces.align import CropTemplate, fit_similarity


@dataclass(frozen=True)
class Jitter:
    """Bounds of random similarity transforms.

    Attributes:
        degrees: Largest rotation to either side.
        shift: Largest shift in x and y, as a share of the view's side.
        scale: Largest change of the natural logarithm of the scale.
        mirror: Probability of a mirrored view.
    """

    degrees: float = 10.0
    shift: float = 0.04
    scale: float = 0.1
    mirror: float = 0.5


def uniform(generator: torch.Generator, low: float, high: float, *shape: int) -> torch.Tensor:
    """Return a tensor of the given shape with numbers from [low, high), drawn on the CPU."""
    return torch.rand(shape, generator=generator) * (high - low) + low


def base_matrix(crop: CropTemplate, view: CropTemplate) -> torch.Tensor:
    """Return the (2, 3) matrix that maps pixels of a view's template to pixels of a crop's template."""
    points = np.asarray(view.points_px, np.float32), np.asarray(crop.points_px, np.float32)
    return torch.from_numpy(fit_similarity(*points))


def random_matrices(
    base: torch.Tensor, n: int, view_px: int, jitter: Jitter, generator: torch.Generator
) -> torch.Tensor:
    """Return random view-to-crop matrices.

    Args:
        base: (2, 3), the view-to-crop matrix without augmentation.
        n: Number of matrices.
        view_px: Side of the view, about whose centre views are rotated, scaled and mirrored.
        jitter: Bounds of the transforms.
        generator: Source of random numbers.

    Returns:
        (n, 2, 3) on the CPU.
    """
    angle = uniform(generator, -1, 1, n) * math.radians(jitter.degrees)
    scale = torch.exp(uniform(generator, -1, 1, n) * jitter.scale)
    shift = uniform(generator, -1, 1, n, 2) * jitter.shift * view_px
    flip = torch.where(torch.rand(n, generator=generator) < jitter.mirror, -1.0, 1.0)
    cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
    linear = torch.stack([torch.stack([cos * flip, -sin], 1), torch.stack([sin * flip, cos], 1)], 1)
    centre = torch.full((2,), (view_px - 1) / 2)
    offset = centre + shift - (linear @ centre)
    return torch.cat([base[:, :2] @ linear, (offset @ base[:, :2].T + base[:, 2])[..., None]], 2)


def cut_views(
    crops_u8: torch.Tensor, matrices: torch.Tensor, view_px: int, padding: str = "reflection"
) -> torch.Tensor:
    """Resample views from crops.

    Args:
        crops_u8: uint8 (n, size, size, 3).
        matrices: (n, 2, 3), view to crop.
        view_px: Side of the views.
        padding: `grid_sample`'s padding mode outside the crop.

    Returns:
        float32 (n, 3, view_px, view_px) in [-1, 1], on the crops' device.
    """
    size = crops_u8.shape[1]
    images = crops_u8.permute(0, 3, 1, 2).to(torch.float32) / 127.5 - 1
    return functional.grid_sample(
        images, sampling_grid(matrices.to(images.device), view_px, size), padding_mode=padding, align_corners=False
    )


def sampling_grid(matrices: torch.Tensor, view_px: int, size_px: int) -> torch.Tensor:
    """Return the grid (n, view_px, view_px, 2) with which `grid_sample` cuts views (align_corners false).

    Args:
        matrices: (n, 2, 3), view to crop.
        view_px: Side of the views.
        size_px: Side of the crops.
    """
    ticks = torch.arange(view_px, dtype=torch.float32, device=matrices.device)
    y, x = torch.meshgrid(ticks, ticks, indexing="ij")
    points = torch.stack([x, y, torch.ones_like(x)], -1).reshape(-1, 3)
    mapped = points @ matrices.transpose(1, 2)
    return ((mapped + 0.5) * (2 / size_px) - 1).reshape(-1, view_px, view_px, 2)


def vary_light(images: torch.Tensor, generator: torch.Generator, strength: float = 1.0) -> torch.Tensor:
    """Vary brightness, contrast, gamma, colour cast and saturation; 8 % of the views become grey.

    Args:
        images: (n, 3, s, s) in [-1, 1].
        generator: Source of random numbers.
        strength: Factor of all variations except the change to grey.

    Returns:
        The varied images, in [-1, 1].
    """
    n = len(images)

    def draw(spread: float) -> torch.Tensor:
        return (uniform(generator, -spread, spread, n, 1, 1, 1) * strength).to(images.device)

    x = ((images + 1) / 2).clamp(1e-3, 1) ** torch.exp(draw(0.35))
    mean = x.mean((1, 2, 3), keepdim=True)
    x = (x - mean) * torch.exp(draw(0.25)) + mean * torch.exp(draw(0.2))
    cast = torch.exp(uniform(generator, -0.08, 0.08, n, 3, 1, 1) * strength).to(images.device)
    grey = x.mean(1, keepdim=True)
    saturation = torch.exp(draw(0.4))
    saturation = torch.where((torch.rand(n, 1, 1, 1, generator=generator) < 0.08).to(images.device), 0.0, saturation)
    return ((grey + (x - grey) * saturation) * cast).clamp(0, 1) * 2 - 1


def degrade(images: torch.Tensor, generator: torch.Generator, chance: float = 0.5) -> torch.Tensor:
    """Blur some views by resampling and add noise to some, to imitate small and dark faces.

    Args:
        images: (n, 3, s, s) in [-1, 1].
        generator: Source of random numbers.
        chance: Probability of blur; that of noise is half of it.

    Returns:
        The varied images, in [-1, 1].
    """
    size = images.shape[-1]
    soft = torch.rand(len(images), generator=generator) < chance
    out = images
    if soft.any():
        small = int(uniform(generator, 0.3, 0.9, 1).item() * size)
        low = functional.interpolate(images, (small, small), mode="bilinear", antialias=True)
        blurred = functional.interpolate(low, (size, size), mode="bilinear")
        out = torch.where(soft.to(images.device)[:, None, None, None], blurred, out)
    noisy = (torch.rand(len(images), 1, 1, 1, generator=generator) < chance / 2).float()
    noise = torch.randn(out.shape, generator=generator) * (noisy * uniform(generator, 0, 0.1, len(images), 1, 1, 1))
    return (out + noise.to(out.device)).clamp(-1, 1)


def cover(images: torch.Tensor, generator: torch.Generator, chance: float = 0.2) -> torch.Tensor:
    """Cover a part of some views with a rectangle of one colour.

    Args:
        images: (n, 3, h, w) in [-1, 1].
        generator: Source of random numbers.
        chance: Probability that a view gets a rectangle.

    Returns:
        The images with the rectangles drawn in.
    """
    n, _, height, width = images.shape
    centre = torch.rand(n, 2, generator=generator)
    half = uniform(generator, 0.04, 0.18, n, 2)
    y = (torch.arange(height) / height)[None, :, None]
    x = (torch.arange(width) / width)[None, None, :]
    inside = (y - centre[:, :1, None]).abs() < half[:, :1, None]
    inside = inside & ((x - centre[:, 1:, None]).abs() < half[:, 1:, None])
    inside &= (torch.rand(n, generator=generator) < chance)[:, None, None]
    colour = uniform(generator, -1, 1, n, 3, 1, 1).to(images.device)
    return torch.where(inside[:, None].to(images.device), colour, images)
