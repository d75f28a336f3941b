"""Losses of the context generator that are computed by frozen networks.

The parser locates landmarks, recognisers embed faces, the attribute network estimates age, sex and group. A second
recogniser can be added, so that the generator does not adapt to the weaknesses of one. The recognisers with which
styleid is evaluated (dlib's, SFace) must not be used here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from styleid.errors import TrainingError
from styleid.faces.align import CropTemplate
from styleid.lab.data import augment
from styleid.lab.networks.aam import ActiveAppearanceModel
from styleid.lab.networks.attributes import AttributesNet
from styleid.lab.networks.identity import TEMPLATE
from styleid.lab.networks.parser import ParserNet
from styleid.lab.tasks.optim import autocast

_LANDMARKS = torch.ones(68)
_LANDMARKS[:17], _LANDMARKS[36:48], _LANDMARKS[48:] = 0.3, 2.0, 3.0
_ALLOWED = 0.03
"""Landmark displacement without penalty, in inter-ocular distances: the parser's own error."""
_SOURCE_MARGIN = 0.15
"""Cosine similarity to the photo's face above which there is a penalty."""
_YEARS_ALLOWED, _YEARS_SCALE = 3.0, 20.0


@dataclass(frozen=True)
class Judges:
    """Frozen networks for the losses. They run under `styleid.lab.tasks.optim.autocast`.

    Attributes:
        parser: The bundle's parser.
        identity: The bundle's recogniser.
        attributes: The bundle's attribute network.
        shapes: The appearance model whose shape rows are swapped.
        crop: The template of the parser's and the attribute network's crop.
        second: A second recogniser, or None.
        device: cpu or cuda.
    """

    parser: ParserNet
    identity: nn.Module
    attributes: AttributesNet
    shapes: ActiveAppearanceModel
    crop: CropTemplate
    second: nn.Module | None = None
    device: str = "cpu"

    def locate(self, images: torch.Tensor) -> torch.Tensor:
        """Return landmarks (n, 68, 2) in pixels of the views (n, 3, s, s)."""
        side, size = images.shape[-1], self.crop.size_px
        with autocast(self.device):
            found = self.parser.locate(_resized(images, size))
        return (found.float() + 0.5) * (side / size) - 0.5

    def describe(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return logits of ages in years (n, 101), of female (n,) and of groups (n, 5)."""
        with autocast(self.device):
            years, female, group = self.attributes.logits(_resized(images, self.crop.size_px))
        return years.float(), female.float(), group.float()

    def embed(
        self, images: torch.Tensor, to_view: torch.Tensor, crop: CropTemplate, *, second: bool = False
    ) -> torch.Tensor:
        """Return unit embeddings (n, d) of views.

        Args:
            images: Views, (n, 3, s, s) in [-1, 1].
            to_view: (n, 2, 3), pixels of the crop that each view was cut from to pixels of the view.
            crop: Template of those crops.
            second: Use the second recogniser.

        Raises:
            TrainingError: If there is no second recogniser.
        """
        network = self.second if second else self.identity
        if network is None:
            raise TrainingError("There is no second recogniser. Name its folder with `teachers`.")
        base = augment.base_matrix(crop, TEMPLATE).to(to_view.device)
        linear = to_view[:, :, :2]
        matrices = torch.cat([linear @ base[:, :2], linear @ base[:, 2:] + to_view[:, :, 2:]], 2)
        grid = augment.sampling_grid(matrices, TEMPLATE.size_px, images.shape[-1])
        views = functional.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
        with autocast(self.device):
            return network(views.contiguous(memory_format=torch.channels_last)).float()


def _resized(images: torch.Tensor, size: int) -> torch.Tensor:
    if images.shape[-1] != size:
        antialias = images.shape[-1] > size
        images = functional.interpolate(images, (size, size), mode="bilinear", antialias=antialias)
    return images.contiguous(memory_format=torch.channels_last)


def landmark_loss(found: torch.Tensor, asked: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the landmark loss and the expression loss.

    Args:
        found: (n, 68, 2), landmarks of the drawn faces.
        asked: (n, 68, 2), the landmarks that were asked for, in the same pixels.

    Returns:
        Two scalars. The landmark loss is the mean displacement above `_ALLOWED`, in inter-ocular distances, with
        weights for lips, lids and outline. The expression loss is the mean absolute difference of `expression`.
    """
    unit = inter_ocular(asked)
    apart = (found - asked).square().sum(-1).add(1e-6).sqrt() / unit[:, None]
    weights = _LANDMARKS.to(apart.device)
    expressions = (expression(found, unit) - expression(asked, unit)).abs()
    return ((apart - _ALLOWED).relu() * weights).mean(), expressions.mean()


def inter_ocular(landmarks: torch.Tensor) -> torch.Tensor:
    """Return the inter-ocular distance (n,) of landmarks (n, 68, 2), at least 4 px."""
    return (landmarks[:, 36:42].mean(1) - landmarks[:, 42:48].mean(1)).norm(dim=-1).clamp_min(4)


def expression(landmarks: torch.Tensor, unit: torch.Tensor) -> torch.Tensor:
    """Return the opening of the mouth, the opening of the eyes and the rise of the mouth's corners, (n, 3).

    Args:
        landmarks: (n, 68, 2).
        unit: (n,), the length that results are divided by.
    """

    def between(*pairs: tuple[int, int]) -> torch.Tensor:
        first, second = zip(*pairs, strict=True)
        return (landmarks[:, first] - landmarks[:, second]).square().sum(-1).add(1e-6).sqrt().mean(1) / unit

    mouth = between((61, 67), (62, 66), (63, 65))
    eyes = between((37, 41), (38, 40), (43, 47), (44, 46))
    rise = (landmarks[:, (62, 66), 1].mean(1) - landmarks[:, (48, 54), 1].mean(1)) / unit
    return torch.stack([mouth, eyes, rise], 1)


def source_loss(embeddings: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
    """Return the mean cosine similarity to the source's embedding above a margin.

    Args:
        embeddings: (n, d), unit length, of the drawn faces.
        source: (n, d), unit length, of the photos' faces.
    """
    return ((embeddings * source).sum(1) - _SOURCE_MARGIN).relu().mean()


def looks_loss(
    described: tuple[torch.Tensor, torch.Tensor, torch.Tensor], looks: torch.Tensor
) -> Mapping[str, torch.Tensor]:
    """Return the losses of age, sex and group.

    Args:
        described: Logits as `Judges.describe` returns them.
        looks: (n, 7), the attributes to reach: age in years, P(female), P(group) x 5.

    Returns:
        `age`, the mean error above 3 years divided by 20; `sex` and `group`, cross-entropies.
    """
    years, female, group = described
    age = (years.softmax(1) * torch.arange(years.shape[1], device=years.device)).sum(1)
    return {
        "age": ((age - looks[:, 0]).abs() - _YEARS_ALLOWED).relu().mean() / _YEARS_SCALE,
        "sex": functional.binary_cross_entropy_with_logits(female, looks[:, 1].clamp(0, 1)),
        "group": -(looks[:, 2:] * group.log_softmax(1)).sum(1).mean(),
    }
