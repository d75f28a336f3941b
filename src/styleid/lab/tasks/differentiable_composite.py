"""Composite new faces of the appearance model into photos with gradients, so that networks learn from what is seen.

What a recogniser says of a new face depends on all that the photo keeps: hair, outline, light, pose. So a training that
cares how alike two new faces are must see them in photos, as the pipeline puts them there: within their outline, behind
hair and glasses, gone below the hair, as bright as the face was. The finished composite (`styleid.pixel.composite`)
also moves the surroundings and follows the direction of the light; neither has a gradient, and neither is needed here.
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
from styleid.pixel.regions import gone_up_the_forehead

_PHOTOS = ("parsing", "portraits")
"""Sources of photos that show more than the face."""
_MOST_GAIN, _DARKEST = 0.5, 0.06
_SOFT_PX = 5


@dataclass(frozen=True)
class CompositedFaces:
    """New faces in their photos.

    views: what a recogniser sees, (n, 3, 112, 112) in [-1, 1]. crops: the photos, as a bundle crops them, and images:
    the faces alone, as drawn, both (n, 3, s, s). landmarks: (n, 68, 2) in pixels of the crop.
    """

    views: torch.Tensor
    crops: torch.Tensor
    images: torch.Tensor
    landmarks: torch.Tensor


class DifferentiableComposite:
    """The photos of a wide pack, with what is known of each; rows are numbers of photos, (n,).

    codes: W+ (photos, layers, w). traits: (photos, 7), rounded as targets know them. held_out: bool (photos,).
    """

    def __init__(self, wide: Pack, trained: Trained) -> None:
        self._generator, side = trained.generator, trained.model.config.size_px
        photos = np.nonzero(np.isin(wide.source, [SOURCES.index(name) for name in _PHOTOS]))[0]
        margin = (wide.template.size_px - side) // 2
        if margin < 0 or len(photos) == 0:
            raise TrainingError(f"Faces are tried in photos of {' and '.join(_PHOTOS)}, cut {side} px wide or wider.")
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
        """Return a photo and others of people of its sex and group, the nearest in age that chance brings, (count,).

        Those held out go with those held out only.
        """
        apart = (self.traits - self.traits[row]).abs()
        other = (apart[:, 1:].sum(1) > 0) | (self.held_out != self.held_out[row])
        order = apart[:, 0] / 10 + 100.0 * other + torch.rand(len(self), generator=generator)
        order[row] = -1
        return order.topk(min(count, len(self)), largest=False)[1]

    def originals(self, rows: torch.Tensor) -> torch.Tensor:
        """Return what a recogniser sees of the photos as they are, (n, 3, 112, 112)."""
        return self._seen(self._photos(rows))

    def put(self, rows: torch.Tensor, wplus: torch.Tensor) -> CompositedFaces:
        """Draw W+ (n, layers, w) into photos."""
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
        """Return how much of new faces is left going up the foreheads, (n, 1, s, s)."""
        side = self._inside.stop - self._inside.start
        pairs = zip(landmarks.detach().numpy(), self.landmarks[rows].numpy(), strict=True)
        gone = np.stack([gone_up_the_forehead(new, old, side) for new, old in pairs])
        return torch.from_numpy(1 - gone)[:, None]

    def _photos(self, rows: torch.Tensor) -> torch.Tensor:
        return self._crops[rows].permute(0, 3, 1, 2).float() / 127.5 - 1

    def _seen(self, photos: torch.Tensor) -> torch.Tensor:
        grid = self._grid.expand(len(photos), -1, -1, -1)
        return functional.grid_sample(photos, grid, padding_mode="reflection", align_corners=False)


def _level(images: torch.Tensor, cover: torch.Tensor) -> torch.Tensor:
    """Return the logarithm of how bright each colour is within a cover, (n, 3, 1, 1)."""
    mean = ((images + 1) / 2 * cover).sum((2, 3), keepdim=True) / cover.sum((2, 3), keepdim=True).clamp_min(1.0)
    return (mean + _DARKEST).log()
