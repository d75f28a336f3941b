"""Training of the appearance model's latent swapper (StyleID's mapper), which weighs source against target.

For each level of W+ a mapper gets the rows of source and target and returns the target's share of each number. All rows
of a level use the same weights. The swapper learns to make the new face a stranger to the original for a recogniser,
and otherwise to stay close to it. With the identity lock, the levels that matter most come completely from the target.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from styleid.lab.networks.aam import ATTRIBUTE_ROW, AAMConfig
from styleid.lab.networks.swapper import Swapper
from styleid.lab.networks.targets import TargetMapping, Z, parts_of
from styleid.lab.tasks.differentiable_composite import CompositedFaces, DifferentiableComposite
from styleid.lab.tasks.loop import load_network, read_state
from styleid.lab.tasks.student import StudentTask
from styleid.lab.tasks.trained import Trained
from styleid.types import ImageRGB

_MARGIN = (0.3, 0.05)
"""Cosine similarity to the original without penalty, at the beginning and from half of the run on."""
_WEIGHTS = {"identity": 4.0, "landmarks": 0.4, "latent": 0.2, "traits": 0.2}
_YEARS = 20.0
_PHOTO_SHARE = 0.5
_LANDMARK_UNIT_PX = 4.0
_INNER = slice(17, 68)


class SwapperTask(StudentTask[Swapper]):
    """Trains a `Swapper` on photos, and on other people's faces that are drawn into photos.

    Args:
        composite: The photos.
        mapping: Draws targets.
        trained: Recogniser and attribute network for the losses.
        people: (n, layers, w), W+ of further faces, which replace the source in half of the photos.
        locked: Take the first parts completely from the target (identity lock).
        batch: Photos per step.
        learning_rate: Peak of the learning rate; it is large because the mapper multiplies its weights by 0.01.
        far: Similarity from which `evaluate` counts two faces as the same person.
    """

    def __init__(
        self,
        composite: DifferentiableComposite,
        mapping: TargetMapping,
        trained: Trained,
        people: torch.Tensor,
        *,
        locked: bool = True,
        batch: int = 24,
        learning_rate: float = 0.5,
        far: float = 0.39,
    ) -> None:
        torch.manual_seed(0)
        self._composite, self._mapping, self._people = composite, mapping.eval(), people
        self._recogniser, self._attributes = trained.identity, trained.attributes
        self._far = far
        self._train, self._test = (torch.nonzero(composite.held_out == held)[:, 0] for held in (False, True))
        student = Swapper(mapping.parts, people.shape[2], locked=locked)
        super().__init__("swapper", student, _WEIGHTS, batch=batch, learning_rate=learning_rate, decay=0.0)

    def terms(self, generator: torch.Generator, progress: float) -> Mapping[str, torch.Tensor]:
        """Return the loss terms of new faces.

        `identity` is the similarity to the original above a margin, which falls over the first half of the run;
        `landmarks` the squared displacement; `latent` the squared distance in W+; `traits` the difference in age, sex
        and group from those of the photo.
        """
        rows = self._train[torch.randint(len(self._train), (self.images_per_step,), generator=generator)]
        source, before, landmarks = self._sources(rows, generator)
        target = self._targets(rows, source, generator)
        swapped = _mixed(source, target, self._student(source, target))
        faces = self._composite.put(rows, swapped)
        alike = (self._recogniser(faces.views) * before).sum(1)
        margin = _MARGIN[0] + (_MARGIN[1] - _MARGIN[0]) * min(1.0, 2 * progress)
        identity = (alike - margin).relu().mean()
        moved = ((faces.landmarks - landmarks)[:, _INNER] / _LANDMARK_UNIT_PX).square().mean()
        latent = (swapped - source).square().mean()
        traits = self._trait_distance(faces, self._composite.traits[rows])
        return {"identity": identity, "landmarks": moved, "latent": latent, "traits": traits}

    def _sources(
        self, rows: torch.Tensor, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return the faces to replace: W+, embeddings and landmarks. Some photos get another person's face first."""
        own, count = self._composite.codes[rows], round(_PHOTO_SHARE * len(rows))
        lent = self._people[torch.randint(len(self._people), (len(rows) - count,), generator=generator)]
        others = torch.cat([own[count:, :ATTRIBUTE_ROW], lent[:, ATTRIBUTE_ROW:]], 1)
        with torch.no_grad():
            drawn = self._composite.put(rows[count:], others)
            views = torch.cat([self._composite.originals(rows[:count]), drawn.views])
            landmarks = torch.cat([self._composite.landmarks[rows[:count]], drawn.landmarks])
            return torch.cat([own[:count], others]), self._recogniser(views), landmarks

    def _targets(self, rows: torch.Tensor, source: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        z = torch.randn(len(rows), Z, generator=generator)
        with torch.no_grad():
            return self._mapping(z, self._composite.traits[rows], source)

    def _trait_distance(self, faces: CompositedFaces, wanted: torch.Tensor) -> torch.Tensor:
        seen = self._attributes(faces.images)
        age = (seen[:, 0] - wanted[:, 0]).abs() / _YEARS
        return (age + (seen[:, 1:] - wanted[:, 1:]).abs().sum(1)).mean()

    def evaluate(self) -> dict[str, float]:
        """Return the mean similarity to the original, the share recognised (`as_one`) and the target's mean share."""
        generator, alike, shares, rows = torch.Generator().manual_seed(5), [], [], self._test
        with torch.no_grad():
            for part in rows.split(24):
                source = self._composite.codes[part]
                target = self._targets(part, source, generator)
                share = self._average(source, target)
                views = self._composite.put(part, _mixed(source, target, share)).views
                before = self._recogniser(self._composite.originals(part))
                alike.append((self._recogniser(views) * before).sum(1))
                shares.append(share.mean((1, 2)))
        joined = torch.cat(alike)
        known = float((joined > self._far).float().mean())
        return {"alike": float(joined.mean()), "as_one": known, "share": float(torch.cat(shares).mean())}

    def sheet(self) -> ImageRGB:
        """Show held-out photos, the same with the complete target, and with the swapper's mix."""
        rows = self._test[:8]
        source = self._composite.codes[rows]
        with torch.no_grad():
            target = self._targets(rows, source, torch.Generator().manual_seed(7))
            whole = torch.ones_like(source)
            whole[:, :ATTRIBUTE_ROW] = 0
            bands = [self._composite.originals(rows)]
            bands += [
                self._composite.put(rows, _mixed(source, target, share)).views
                for share in (whole, self._average(source, target))
            ]
        picture = torch.cat([torch.cat(list(band), 2) for band in bands], 1).permute(1, 2, 0).numpy()
        return ((picture + 1) * 127.5).clip(0, 255).astype(np.uint8)


def _mixed(source: torch.Tensor, target: torch.Tensor, share: torch.Tensor) -> torch.Tensor:
    return source + share * (target - source)


def load_swapper(checkpoints: Path, config: AAMConfig) -> Swapper:
    """Load the checkpoint `swapper`. Whether it is locked is inferred from its tensors.

    Args:
        checkpoints: Folder that holds the folder `swapper`.
        config: Size of the appearance model.

    Raises:
        TrainingError: If the checkpoint is missing or does not fit.
    """
    folder = checkpoints / "swapper"
    locked = Swapper.is_locked(read_state(folder, "swapper"))
    return load_network(Swapper(parts_of(config), config.width, locked=locked), folder, "swapper")
