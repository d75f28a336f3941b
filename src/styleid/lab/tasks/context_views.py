"""Augmentation of the context generator's views, and measurement of their light.

Convention
----------
Views are float32 (n, 3, s, s), RGB in [-1, 1]; masks are (n, 1, s, s). Random numbers come from the generator that is
passed in and are drawn on the CPU.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch.nn import functional

from styleid.lab.data import augment, occlude
from styleid.pixel.guides import FILL


@dataclass(frozen=True)
class BatchOptions:
    """Augmentation of views. Shares are from 0 to 1.

    Attributes:
        cells: Smallest and largest number of light cells per side.
        degraded: Share of views that are resampled to 48 to 120 px (of 128).
        recoloured: Share of views with changed gamma and colour cast.
        compressed: Share of views that are JPEG-compressed.
        objects: Share of views with an object in front of the face.
        enlarged: Share of faces drawn as themselves whose region also covers another face shape.
        neighbours: Share of views with a hole in the context, as other faces in a photo leave it.
    """

    cells: tuple[int, int] = (2, 4)
    degraded: float = 0.3
    recoloured: float = 0.4
    compressed: float = 0.25
    objects: float = 0.1
    enlarged: float = 0.4
    neighbours: float = 0.1


def varied(
    images: torch.Tensor, labels: torch.Tensor, options: BatchOptions, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Augment views and their label maps.

    Args:
        images: (n, 3, s, s) in [-1, 1].
        labels: (n, s / 2, s / 2).
        options: Shares of the augmentations.
        generator: Source of random numbers.

    Returns:
        Images and label maps of the same shapes.
    """
    if options.objects:
        images, labels = occlude.draw_objects(images, labels, generator, options.objects)
    if options.recoloured:
        images = _recoloured(images, options.recoloured, generator)
    if options.degraded:
        images = _resampled(images, options.degraded, generator)
    if options.compressed:
        images = _compressed(images, options.compressed, generator)
    return images, labels


def _chosen(n: int, share: float, generator: torch.Generator, like: torch.Tensor) -> torch.Tensor:
    return (torch.rand(n, 1, 1, 1, generator=generator) < share).to(like.device)


def _recoloured(images: torch.Tensor, share: float, generator: torch.Generator) -> torch.Tensor:
    n = len(images)
    gamma = torch.exp(augment.uniform(generator, -0.36, 0.53, n, 1, 1, 1)).to(images.device)  # .7 to 1.7
    cast = torch.exp(augment.uniform(generator, -0.15, 0.15, n, 3, 1, 1)).to(images.device)
    changed = ((images + 1) / 2).clamp(1e-3, 1) ** gamma * cast
    return torch.where(_chosen(n, share, generator, images), changed.clamp(0, 1) * 2 - 1, images)


def _resampled(images: torch.Tensor, share: float, generator: torch.Generator) -> torch.Tensor:
    side = images.shape[-1]
    small = int(augment.uniform(generator, 0.375, 0.94, 1).item() * side)
    low = functional.interpolate(images, (small, small), mode="bilinear", antialias=True)
    soft = functional.interpolate(low, (side, side), mode="bicubic").clamp(-1, 1)
    return torch.where(_chosen(len(images), share, generator, images), soft, images)


def _compressed(images: torch.Tensor, share: float, generator: torch.Generator) -> torch.Tensor:
    chosen = torch.nonzero(torch.rand(len(images), generator=generator) < share)[:, 0].tolist()
    quality = torch.randint(30, 95, (len(images),), generator=generator).tolist()
    out = images.clone()
    for i in chosen:
        rgb = ((images[i].permute(1, 2, 0).cpu().numpy() + 1) * 127.5).round().clip(0, 255).astype(np.uint8)
        content = cv2.imencode(".jpg", rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality[i]])[1]
        again = np.ascontiguousarray(cv2.imdecode(content, cv2.IMREAD_COLOR)[..., ::-1])  # type: ignore[index]
        out[i] = (torch.from_numpy(again).permute(2, 0, 1).float() / 127.5 - 1).to(images.device)
    return out


def holes(n: int, side: int, share: float, generator: torch.Generator) -> torch.Tensor:
    """Return bool (n, 1, side, side), False inside a random ellipse near the border of some views.

    Args:
        n: Number of views.
        side: Side of the views.
        share: Probability that a view has an ellipse.
        generator: Source of random numbers.
    """
    angle = augment.uniform(generator, 0, 6.28, n, 1, 1)
    centre = 0.5 + 0.48 * torch.stack([torch.cos(angle), torch.sin(angle)])
    radius = augment.uniform(generator, 0.08, 0.22, 2, n, 1, 1)
    ticks = torch.arange(side) / side
    x, y = ticks[None, None, :] - centre[0], ticks[None, :, None] - centre[1]
    inside = (x / radius[0]) ** 2 + (y / radius[1]) ** 2 < 1
    return ~(inside & (torch.rand(n, 1, 1, generator=generator) < share))[:, None]


def coarse_light(images: torch.Tensor, shown: torch.Tensor, cells: int) -> torch.Tensor:
    """Return the face's colour means on a grid of cells x cells, interpolated to the views' side, (n, 3, s, s).

    `styleid.pixel.guides.coarse_light` computes the same when photos are anonymised.

    Args:
        images: (n, 3, s, s).
        shown: (n, 1, s, s) in [0, 1], where the face is visible.
        cells: Light cells per side.
    """
    return functional.interpolate(
        light_cells(images, shown, cells), images.shape[-1], mode="bilinear", align_corners=False
    )


def light_cells(images: torch.Tensor, shown: torch.Tensor, cells: int) -> torch.Tensor:
    """Return the face's colour means by light cell, (n, 3, cells, cells).

    Args:
        images: (n, 3, s, s).
        shown: (n, 1, s, s) in [0, 1], where the face is visible.
        cells: Light cells per side.
    """
    area = functional.adaptive_avg_pool2d(shown, cells)
    mean = (images * shown).sum((2, 3), keepdim=True) / shown.sum((2, 3), keepdim=True).clamp_min(1e-3)
    sums = functional.adaptive_avg_pool2d(images * shown, cells)
    return (sums + FILL * mean) / (area + FILL)


def discriminator_maps(images: torch.Tensor, lines: torch.Tensor, region: torch.Tensor) -> torch.Tensor:
    """Concatenate the discriminator's input.

    Args:
        images: (n, 3, s, s), photos or composites.
        lines: (n, 2, s, s), their lines.
        region: (n, 1, s, s), their regions.

    Returns:
        (n, 6, s, s), channels last.
    """
    return torch.cat([images, lines, region], 1).contiguous(memory_format=torch.channels_last)


def augment_discriminator_maps(maps: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Augment the discriminator's input, photos and composites alike, so that it does not memorise the photos.

    Brightness, saturation, contrast and colour cast change in half of the images each. 70 % of the batches are shifted
    by up to 10 px (of 128), 40 % get a hole of 40 px. 35 % of the images lose their line maps.

    Args:
        maps: (n, 6, s, s), see `discriminator_maps`.
        generator: Source of random numbers.

    Returns:
        Maps of the same shape.
    """
    n, side = len(maps), maps.shape[-1]
    device = maps.device

    def half_of(spread: float, channels: int = 1) -> torch.Tensor:
        chosen = torch.rand(n, 1, 1, 1, generator=generator) < 0.5
        return (augment.uniform(generator, -spread, spread, n, channels, 1, 1) * chosen).to(device)

    image = maps[:, :3] + half_of(0.3) + half_of(0.15, 3)
    grey, mean = image.mean(1, keepdim=True), image.mean((1, 2, 3), keepdim=True)
    image = grey + (image - grey) * torch.exp(half_of(0.6))
    image = mean + (image - mean) * torch.exp(half_of(0.4))
    with_lines = (torch.rand(n, 1, 1, 1, generator=generator) >= 0.35).to(device)
    varied = torch.cat([image, maps[:, 3:5] * with_lines, maps[:, 5:]], 1)
    most = round(side * 10 / 128)
    shift_y, shift_x = torch.randint(-most, most + 1, (2,), generator=generator).tolist()
    if torch.rand(1, generator=generator) < 0.7:
        padded = functional.pad(varied, (most, most, most, most))
        varied = padded[:, :, most + shift_y : most + shift_y + side, most + shift_x : most + shift_x + side]
    hole = round(side * 40 / 128)
    top, left = torch.randint(side - hole, (2,), generator=generator).tolist()
    if torch.rand(1, generator=generator) < 0.4:
        whole = torch.ones(1, 1, side, side)
        whole[:, :, top : top + hole, left : left + hole] = 0
        varied = varied * whole.to(device)
    return varied.contiguous(memory_format=torch.channels_last)
