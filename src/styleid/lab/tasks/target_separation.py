"""Training of the target separation, which makes targets consistent across photos and distinct from each other.

Learns one linear map per part of W+. A contrastive loss with margins (Hadsell, Chopra and LeCun 2006) makes each target
consistent across photos and distinct from the others, even in the same photo, for the recogniser. The maps are needed
because large differences in the appearance model's codes are often small for a recogniser. Further losses make targets
look their sex, age and group, and bound the variation in each direction, so that faces stay plausible. The maps are
multiplied into the bank when a bundle is built, so they cost nothing at run time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from styleid.lab.networks.aam import ATTRIBUTE_ROW, AAMConfig
from styleid.lab.networks.target_separation import TargetSeparation
from styleid.lab.networks.targets import TargetMapping, Z, parts_of
from styleid.lab.tasks.differentiable_composite import CompositedFaces, DifferentiableComposite
from styleid.lab.tasks.loop import load_network
from styleid.lab.tasks.student import StudentTask
from styleid.lab.tasks.trained import Trained
from styleid.types import ImageRGB

CHECKPOINT = "spread"
"""Name of the checkpoint and of its network, unchanged from older versions of styleid."""
_STRANGERS, _NEARLY, _SELF = 0.05, 0.3, 0.75
"""Margins of the similarity: two targets should be below the first (squared loss) and the second (linear loss); one
target in two photos should be above the third."""
_WEIGHTS = {"strangers": 1.0, "itself": 0.5, "sex": 0.5, "group": 0.3, "age": 0.05, "plain": 10.0}
_SURE, _SURE_OF_GROUP, _YEARS_OFF = 0.8, 0.6, 8.0
"""Margins of the attribute losses: probability of the wanted sex, of the wanted group, and age error in years."""
_LARGEST = 3.0
"""Standard deviation in any direction, relative to the bank's, above which there is a penalty. Beyond it eyelids, brows
and shadows look implausible."""
_TARGETS, _PHOTOS = 8, 3
_WATCHED = 24


@dataclass(frozen=True)
class _Batch:
    """Every target in every photo: `target` and `photo` are indices, (n,); `wanted` are rounded traits, (n, 7)."""

    faces: CompositedFaces
    target: torch.Tensor
    photo: torch.Tensor
    wanted: torch.Tensor


class TargetSeparationTask(StudentTask[TargetSeparation]):
    """Trains a `TargetSeparation` for the bank of a mapping.

    Args:
        composite: The photos.
        mapping: The mapping, whose bank was made without a separation.
        trained: Recogniser and attribute network for the losses.
        batch: Composites per step, three photos for each target.
        learning_rate: Peak of the learning rate.
        far: Similarity from which `evaluate` counts two faces as the same person.
    """

    def __init__(
        self,
        composite: DifferentiableComposite,
        mapping: TargetMapping,
        trained: Trained,
        *,
        batch: int = _TARGETS * _PHOTOS,
        learning_rate: float = 3e-3,
        far: float = 0.39,
    ) -> None:
        torch.manual_seed(0)
        self._composite, self._mapping, self._people = composite, mapping.eval(), mapping.people()
        self._recogniser, self._attributes = trained.identity, trained.attributes
        self._targets = max(2, batch // _PHOTOS)
        self._far = far
        self._train, self._test = (torch.nonzero(composite.held_out == held)[:, 0] for held in (False, True))
        student = TargetSeparation(mapping.parts, self._people.shape[2])
        student.fit_whitening(self._people)
        super().__init__(CHECKPOINT, student, _WEIGHTS, batch=self._targets * _PHOTOS, learning_rate=learning_rate)

    def terms(self, generator: torch.Generator, progress: float) -> Mapping[str, torch.Tensor]:
        """Return the loss terms.

        `strangers` and `itself` are the contrastive losses of different targets and of one target in two photos; `sex`,
        `group` and `age` compare with the wanted attributes; `plain` bounds the variation in each direction.
        """
        del progress
        batch = self._draw(self._student, self._train, generator)
        alike, pairs = self._alike(batch)
        others = alike[pairs["same photo"] | pairs["other photo"]]
        strangers = (others - _STRANGERS).relu().square().mean() + (others - _NEARLY).relu().mean()
        itself = (_SELF - alike[pairs["itself"]]).relu().square().mean()
        years, sexes, groups = self._looks(batch.faces.crops, batch.wanted)
        faces = self._looks(batch.faces.images, batch.wanted)[1]  # without hair, which could decide the sex alone
        sex = (_SURE - torch.cat([sexes, faces])).relu().mean()
        group = (_SURE_OF_GROUP - groups).relu().mean()
        age = (years - _YEARS_OFF).relu().mean() / 20
        plain = (self._student.deviations() - _LARGEST).relu().square().mean()
        return {"strangers": strangers, "itself": itself, "sex": sex, "group": group, "age": age, "plain": plain}

    def _looks(self, crops: torch.Tensor, wanted: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return the age errors in years and the probabilities of the wanted sex and group, each (n,)."""
        seen = self._attributes(crops)
        sex = torch.where(wanted[:, 1] > 0.5, seen[:, 1], 1 - seen[:, 1])
        return (seen[:, 0] - wanted[:, 0]).abs(), sex, (seen[:, 2:] * wanted[:, 2:]).sum(1)

    def _draw(self, separation: nn.Module, photos: torch.Tensor, generator: torch.Generator) -> _Batch:
        """Draw new targets with one random photo's attributes into similar photos; rarer groups come more often."""
        composite, mapping = self._composite, self._mapping
        groups = composite.traits[photos, 2:]
        rare = groups @ groups.sum(0).clamp_min(1).rsqrt()
        row = int(photos[torch.multinomial(rare, 1, generator=generator)])
        rows = composite.alike(row, _PHOTOS, generator)
        wanted = composite.traits[row].expand(self._targets, -1)
        chosen = mapping.choose(torch.randn(self._targets, Z, generator=generator), wanted)
        given = separation(self._people[chosen])
        target, photo = (grid.reshape(-1) for grid in torch.meshgrid(
            torch.arange(self._targets), torch.arange(len(rows)), indexing="ij"))  # fmt: skip
        own = composite.codes[rows[photo]]
        targets = mapping.join(given[target], chosen[target], wanted[target], own)
        wplus = torch.cat([own[:, :ATTRIBUTE_ROW], targets[:, ATTRIBUTE_ROW:]], 1)
        return _Batch(composite.put(rows[photo], wplus), target, photo, wanted[target])

    def _alike(self, batch: _Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Return similarities (n, n), and a mask of each kind of pair with each pair once."""
        embeddings = self._recogniser(batch.faces.views)
        upper = torch.ones(len(embeddings), len(embeddings), dtype=torch.bool).triu(1)
        one = batch.target[:, None] == batch.target
        here = batch.photo[:, None] == batch.photo
        pairs = {"same photo": upper & ~one & here, "other photo": upper & ~one & ~here, "itself": upper & one}
        return embeddings @ embeddings.T, pairs

    def evaluate(self) -> dict[str, float]:
        """Return shares of pairs that are recognised as one person, and of targets with the wanted sex and group.

        `*_before` are the same figures without the separation; see `Task.evaluate`.
        """
        out = {}
        for name, separation in (("", self._average), ("_before", nn.Identity())):
            found: dict[str, list[torch.Tensor]] = {}
            generator = torch.Generator().manual_seed(5)
            for _ in range(_WATCHED):
                with torch.no_grad():
                    batch = self._draw(separation, self._test, generator)
                    alike, pairs = self._alike(batch)
                    _, sexes, groups = self._looks(batch.faces.crops, batch.wanted)
                seen = {f"as_one_{kind.replace(' ', '_')}": alike[which] > self._far for kind, which in pairs.items()}
                for kind, right in (seen | {"sex": sexes > 0.5, "group": groups > 0.5}).items():
                    found.setdefault(kind + name, []).append(right)
            out |= {kind: float(torch.cat(parts).float().mean()) for kind, parts in found.items()}
        return out

    def sheet(self) -> ImageRGB:
        """Show targets, one column each, in held-out photos: first without the separation, below with it."""
        generator, bands = torch.Generator().manual_seed(3), []
        for _ in range(3):
            state = generator.get_state()
            for separation in (nn.Identity(), self._average):
                generator.set_state(state)
                with torch.no_grad():
                    views = self._draw(separation, self._test, generator).faces.views
                grid = views.unflatten(0, (self._targets, -1)).permute(1, 3, 0, 4, 2)
                bands.append(grid.reshape(-1, self._targets * views.shape[-1], 3))
        picture = torch.cat(bands).numpy()
        return ((picture + 1) * 127.5).clip(0, 255).astype(np.uint8)


def load_target_separation(checkpoints: Path, config: AAMConfig) -> TargetSeparation:
    """Load the checkpoint `spread`.

    Args:
        checkpoints: Folder that holds the folder `spread`.
        config: Size of the appearance model.

    Raises:
        TrainingError: If the checkpoint is missing or does not fit.
    """
    return load_network(TargetSeparation(parts_of(config), config.width), checkpoints / CHECKPOINT, CHECKPOINT)
