"""Differentiable composites of the appearance model's faces with photos, for training.

A recogniser's output for a new face also depends on what the photo keeps: hair, outline, light, pose. A training that
compares embeddings of new faces therefore needs them composited as in the pipeline: inside their outline, behind hair
and glasses, fading out up the forehead, and with the original face's brightness. The pipeline
(`styleid.pixel.composite`) also warps the surroundings and matches the direction of the light. Both are omitted here,
because they have no gradient and are not needed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from styleid.errors import TrainingError
from styleid.lab.data import augment
from styleid.lab.data.pack import SOURCES, Pack
from styleid.lab.networks.identity import TEMPLATE as IDENTITY_TEMPLATE
from styleid.lab.networks.targets import round_traits
from styleid.lab.tasks.aam_fit import face_visibility
from styleid.lab.tasks.trained import Trained
from styleid.pixel.regions import forehead_fade

_PHOTOS = ("parsing", "portraits")
"""Sources whose photos show the surroundings of the face."""
_MOST_GAIN, _DARKEST = 0.5, 0.06
_SOFT_PX = 5


@dataclass(frozen=True)
class CompositedFaces:
    """New faces in their photos.

    Attributes:
        views: The recogniser's view of the composites, (n, 3, 112, 112) in [-1, 1].
        crops: The composites under the bundle's crop template, (n, 3, s, s).
        images: The generator's images, (n, 3, s, s).
        landmarks: (n, 68, 2) in pixels of the crop.
    """

    views: torch.Tensor
    crops: torch.Tensor
    images: torch.Tensor
    landmarks: torch.Tensor


class DifferentiableComposite:
    """Photos of a wide pack into which faces are composited. Methods take `rows`, (n,) indices of photos.

    Args:
        wide: A pack with the margin that the recogniser needs; see `require_whole_views`.
        trained: The networks that draw and evaluate faces.

    Attributes:
        codes: W+ of the original faces, (photos, layers, w).
        traits: Rounded attributes, (photos, 7); see `round_traits`.
        landmarks: (photos, 68, 2) in pixels of the bundle's crop.
        held_out: bool (photos,).

    Raises:
        TrainingError: If the pack has no suitable photos or its crops are smaller than the model's.
    """

    def __init__(self, wide: Pack, trained: Trained) -> None:
        self._generator, side = trained.generator, trained.model.config.size_px
        photos = np.nonzero(np.isin(wide.source, [SOURCES.index(name) for name in _PHOTOS]))[0]
        margin = (wide.template.size_px - side) // 2
        if margin < 0 or len(photos) == 0:
            raise TrainingError(
                f"The wide pack must hold faces of {' or '.join(_PHOTOS)} in crops of at least {side} px."
            )
        self._inside = slice(margin, margin + side)
        self._crops = torch.from_numpy(wide.crops(photos))
        matrix = augment.base_matrix(wide.template, IDENTITY_TEMPLATE)[None]
        self._grid = augment.sampling_grid(matrix, IDENTITY_TEMPLATE.size_px, wide.template.size_px)
        self.landmarks = torch.from_numpy(wide.landmarks68[photos]) - margin
        self.held_out = torch.from_numpy(wide.held_out[photos])
        codes, traits, visible = [], [], []
        for rows in torch.arange(len(photos)).split(64):
            crops = self._photos(rows)[:, :, self._inside, self._inside]
            with torch.no_grad():
                shows = face_visibility(trained.parser, crops)
                codes.append(trained.model.encode(crops, self.landmarks[rows], shows))
                traits.append(round_traits(trained.attributes(crops)))
                visible.append((shows * 255).to(torch.uint8))
        self.codes, self.traits, self._visible = torch.cat(codes), torch.cat(traits), torch.cat(visible)

    def __len__(self) -> int:
        return len(self._crops)

    def alike(self, row: int, count: int, generator: torch.Generator) -> torch.Tensor:
        """Return a photo and others of people with the same sex and group and a similar age, (count,) indices.

        Held-out photos are combined with held-out photos only.

        Args:
            row: The photo.
            count: Number of photos; fewer are returned if there are fewer in all.
            generator: Source of random numbers.
        """
        apart = (self.traits - self.traits[row]).abs()
        other = (apart[:, 1:].sum(1) > 0) | (self.held_out != self.held_out[row])
        order = apart[:, 0] / 10 + 100.0 * other + torch.rand(len(self), generator=generator)
        order[row] = -1
        return order.topk(min(count, len(self)), largest=False)[1]

    def originals(self, rows: torch.Tensor) -> torch.Tensor:
        """Return the recogniser's view of the original photos, (n, 3, 112, 112)."""
        return self._seen(self._photos(rows))

    def put(self, rows: torch.Tensor, wplus: torch.Tensor) -> CompositedFaces:
        """Draw faces into photos.

        Args:
            rows: (n,), the photos.
            wplus: (n, layers, w), the faces.
        """
        images, landmarks = self._generator(wplus)
        model = self._generator.model
        mask = model.mask.float().expand(len(wplus), 1, *model.config.texture_hw)
        cover = model.place_texture(mask, model.points(wplus)) * (self._visible[rows].float() / 255)
        cover = functional.avg_pool2d(cover, _SOFT_PX, 1, _SOFT_PX // 2, count_include_pad=False)
        photos = self._photos(rows)
        own = photos[:, :, self._inside, self._inside]
        gain = (_level(own, cover) - _level(images, cover)).clamp(-_MOST_GAIN, _MOST_GAIN).exp()
        lit = (((images + 1) / 2 + _DARKEST) * gain - _DARKEST).clamp(0, 1) * 2 - 1
        margin = self._inside.start
        change = cover * self._on_forehead(landmarks, rows) * (lit - own)
        around = functional.pad(change, [margin, photos.shape[-1] - self._inside.stop] * 2)
        return CompositedFaces(self._seen(photos + around), own + change, images, landmarks)

    def _on_forehead(self, landmarks: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """Return the opacity of new faces, which falls up the forehead, (n, 1, s, s)."""
        side = self._inside.stop - self._inside.start
        pairs = zip(landmarks.detach().numpy(), self.landmarks[rows].numpy(), strict=True)
        gone = np.stack([forehead_fade(new, old, side) for new, old in pairs])
        return torch.from_numpy(1 - gone)[:, None]

    def _photos(self, rows: torch.Tensor) -> torch.Tensor:
        return self._crops[rows].permute(0, 3, 1, 2).float() / 127.5 - 1

    def _seen(self, photos: torch.Tensor) -> torch.Tensor:
        grid = self._grid.expand(len(photos), -1, -1, -1)
        return functional.grid_sample(photos, grid, padding_mode="reflection", align_corners=False)


def _level(images: torch.Tensor, cover: torch.Tensor) -> torch.Tensor:
    """Return the logarithm of the mean of each colour channel inside a cover, (n, 3, 1, 1)."""
    mean = ((images + 1) / 2 * cover).sum((2, 3), keepdim=True) / cover.sum((2, 3), keepdim=True).clamp_min(1.0)
    return (mean + _DARKEST).log()
