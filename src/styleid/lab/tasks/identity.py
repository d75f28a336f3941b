"""Training of the identity network: aligned face -> unit embedding, distilled from a teacher.

Student and teacher get the same views, augmented and blended between two people, and the student learns to reproduce
the teacher's output ("function matching", Beyer et al. 2022). This needs few faces.

Many source photos were cropped tightly and end at the forehead. A view of such a face is filled with the surroundings
of another face, for both networks, because mirrored borders occur in no photo. Other photos have surroundings, and a
pack with a margin of 40 px keeps all that the view shows.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from styleid.errors import TrainingError
from styleid.lab.data import augment
from styleid.lab.data.pack import SOURCES, Pack
from styleid.lab.data.teachers import IdentityTeacher
from styleid.lab.networks.identity import TEMPLATE, IdentityConfig, IdentityNet
from styleid.lab.tasks.optim import autocast, channels_last
from styleid.lab.tasks.student import StudentTask

_ODDS = {"parsing": 4.0, "portraits": 4.0}
"""Sampling weights of sources. Ordinary photos are few in the pack."""

_WEIGHTS = {"distance": 1.0, "relations": 2.0}
_FEATHER_PX = 6.0
_WHOLE = 0.95


class IdentityTask(StudentTask[IdentityNet]):
    """Distils the identity teacher into an `IdentityNet`.

    Args:
        pack: A pack with enough margin, see `require_whole_views`.
        teachers: Folder of the identity teacher.
        config: Size of the network; None uses the default.
        batch: Images per step.
        learning_rate: Peak of the learning rate.
        device: cpu or cuda.

    Raises:
        TrainingError: If the teacher is missing.
    """

    def __init__(
        self,
        pack: Pack,
        teachers: Path,
        config: IdentityConfig | None = None,
        *,
        batch: int = 64,
        learning_rate: float = 2e-3,
        device: str = "cpu",
    ) -> None:
        torch.manual_seed(0)
        self.teacher = channels_last(IdentityTeacher(teachers), device)
        self._base = augment.base_matrix(pack.template, TEMPLATE)
        self._faces = FaceViews(pack, np.nonzero(~pack.held_out)[0], self._base, device)
        self._held_out = FaceViews(pack, np.nonzero(pack.held_out)[0][:1024], self._base, device)
        super().__init__(
            "identity",
            IdentityNet(config),
            _WEIGHTS,
            batch=batch,
            learning_rate=learning_rate,
            decay=0.02,
            device=device,
        )

    def terms(self, generator: torch.Generator, progress: float) -> Mapping[str, torch.Tensor]:
        """Return the loss terms.

        `distance` is 1 - cosine to the teacher's embeddings; `relations` the mean squared difference of all pairwise
        similarities from the teacher's.
        """
        del progress
        views = self._views(generator)
        with torch.no_grad(), autocast(self.device):
            wanted = torch.cat([self.teacher(part) for part in views.split(32)])  # small parts stay in cache
        with autocast(self.device):
            given = self._student(views)
        distance = 1 - (given * wanted).sum(1)
        return {"distance": distance.mean(), "relations": functional.mse_loss(given @ given.T, wanted @ wanted.T)}

    def _views(self, generator: torch.Generator) -> torch.Tensor:
        jitter = augment.Jitter(degrees=8, shift=0.03, scale=0.08)
        matrices = augment.random_matrices(self._base, self.images_per_step, TEMPLATE.size_px, jitter, generator)
        views = self._faces.views(self._faces.draw(len(matrices), generator), matrices, generator)
        views = augment.cover(
            augment.degrade(augment.vary_light(views, generator, 0.8), generator, 0.4), generator, 0.15
        )
        return blend_people(views, generator).contiguous(memory_format=torch.channels_last)

    def evaluate(self) -> dict[str, float]:
        """Return the mean and the 5 % quantile of the cosine similarity to the teacher; see `Task.evaluate`."""
        self._average.eval()
        similarity = []
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for part in torch.arange(len(self._held_out)).split(128):
                views = self._held_out.views(part, self._base.expand(len(part), 2, 3), generator)
                similarity.append((self.teacher(views) * self._average(views)).sum(1))
        joined = torch.cat(similarity)
        return {"teacher_similarity": float(joined.mean()), "teacher_similarity_p05": float(joined.quantile(0.05))}


class FaceViews:
    """Faces of a pack and their views, filled beyond the photo's border with another face's surroundings."""

    def __init__(self, pack: Pack, rows: np.ndarray[Any, Any], base: torch.Tensor, device: str) -> None:
        self._crops = torch.from_numpy(pack.crops(rows)).to(device)
        self._quads = torch.from_numpy(pack.valid_quads[rows]).float()
        odds = [_ODDS.get(source, 1.0) for source in SOURCES]
        self._odds = torch.tensor(odds)[torch.from_numpy(pack.source[rows]).long()]
        shown = photo_mask(self._quads, base.expand(len(rows), 2, 3), pack.template.size_px).mean((1, 2, 3))
        self._whole = torch.nonzero(shown > _WHOLE)[:, 0]

    def __len__(self) -> int:
        return len(self._crops)

    def draw(self, n: int, generator: torch.Generator) -> torch.Tensor:
        """Draw the indices of n faces with replacement, (n,)."""
        return torch.multinomial(self._odds, n, replacement=True, generator=generator)

    def views(self, index: torch.Tensor, matrices: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Return views of faces.

        Args:
            index: (n,), the faces.
            matrices: (n, 2, 3), view to crop.
            generator: Source of random numbers for the choice of surroundings.

        Returns:
            (n, 3, 112, 112) in [-1, 1].
        """
        size, device = TEMPLATE.size_px, self._crops.device
        views = augment.cut_views(self._crops[index.to(device)], matrices, size)
        if len(self._whole) == 0:
            return views
        others = self._whole[torch.randint(len(self._whole), (len(index),), generator=generator)]
        around = augment.cut_views(self._crops[others.to(device)], matrices, size)
        face = slice(3 * size // 8, 3 * size // 4)
        light = (views - around)[:, :, face, face].mean((2, 3), keepdim=True)
        around = (around + light).clamp(-1, 1)
        return around + (views - around) * photo_mask(self._quads[index], matrices, self._crops.shape[1]).to(device)


def require_whole_views(pack: Pack) -> Pack:
    """Return the pack unchanged if its crops contain the recogniser's view.

    Raises:
        TrainingError: If the crops are too tight.
    """
    side = TEMPLATE.size_px - 1
    corners = np.array([[0, 0, 1], [side, 0, 1], [side, side, 1], [0, side, 1]], np.float32)
    seen = corners @ augment.base_matrix(pack.template, TEMPLATE).numpy().T
    if seen.min() < -0.5 or seen.max() > pack.template.size_px - 0.5:
        raise TrainingError(
            "This pack's crops are too tight: the recogniser's view reaches beyond them. "
            "Make a pack with a wider margin: styleid train pack ... --margin-px 40"
        )
    return pack


def photo_mask(quads: torch.Tensor, matrices: torch.Tensor, crop_px: int) -> torch.Tensor:
    """Return where views show the photo, (n, 1, 112, 112): 1 inside, falling to 0 towards the photo's or crop's border.

    Args:
        quads: (n, 4, 2), corners of the photos in crop pixels, clockwise from the upper left.
        matrices: (n, 2, 3), view to crop.
        crop_px: Side of the crops.
    """
    grid = augment.sampling_grid(matrices, TEMPLATE.size_px, crop_px)  # in [-1, 1] inside the crop
    points = (grid + 1) * (crop_px / 2) - 0.5
    along = functional.normalize(quads.roll(-1, 1) - quads, dim=2)
    inward = torch.stack([-along[..., 1], along[..., 0]], 2)
    to_edges = torch.einsum("nhwc,nec->nhwe", points, inward) - (quads * inward).sum(2)[:, None, None]
    to_crop = (1 - grid.abs()) * (crop_px / 2)
    nearest = torch.minimum(to_edges.amin(3), to_crop.amin(3))
    return (nearest / _FEATHER_PX).clamp(0, 1)[:, None]


def blend_people(views: torch.Tensor, generator: torch.Generator, chance: float = 0.35) -> torch.Tensor:
    """Blend some views with another view of the batch, which gives faces between two people.

    Args:
        views: (n, 3, h, w).
        generator: Source of random numbers.
        chance: Probability that a view is blended; the share of the other view is uniform in [0, 1).

    Returns:
        Views of the same shape.
    """
    n = len(views)
    other = views[torch.randperm(n, generator=generator).to(views.device)]
    share = torch.rand(n, 1, 1, 1, generator=generator)
    share = torch.where(torch.rand(n, 1, 1, 1, generator=generator) < chance, share, 0.0).to(views.device)
    return views + (other - views) * share
