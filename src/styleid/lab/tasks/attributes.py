"""Training of the attribute network: crop -> age, sex, group.

The network starts from the recogniser's convolutions, whose features contain more than the few labels can teach: a
linear classifier on these features gets the sex of 93 % of faces right, a network trained on the labels alone 90 %.

Age is learned as a distribution over years (Gao et al. 2018, DLDL-v2); the estimate is its mean. Faces are sampled by
the inverse square root of the number of faces of the same age band, sex and group, so that rare ones are seen more
often.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch.nn import functional

from styleid.lab.data import augment
from styleid.lab.data.pack import Pack
from styleid.lab.networks.attributes import YEARS, AttributesConfig, AttributesNet, mean_age
from styleid.lab.networks.identity import IdentityNet
from styleid.lab.tasks.optim import autocast
from styleid.lab.tasks.student import StudentTask

_WEIGHTS = {"age": 1.0, "sex": 1.0, "group": 0.5}
AGE_BANDS = (3, 10, 20, 30, 40, 50, 60, 75)
"""Upper limits, in years, of the age bands for sampling. The last band is open."""


class AttributesTask(StudentTask[AttributesNet]):
    """Trains an `AttributesNet` on the faces of a pack whose sex is known.

    Args:
        pack: Training and held-out faces.
        recogniser: Network that provides the initial convolutions; None starts from random ones.
        config: Size of the network; None takes the pack's crop size.
        batch: Images per step.
        learning_rate: Peak of the learning rate.
        device: cpu or cuda.
    """

    def __init__(
        self,
        pack: Pack,
        recogniser: IdentityNet | None = None,
        config: AttributesConfig | None = None,
        *,
        batch: int = 96,
        learning_rate: float = 1e-3,
        device: str = "cpu",
    ) -> None:
        torch.manual_seed(0)
        self.config = config or AttributesConfig(pack.template.size_px)
        train = np.nonzero(~pack.held_out & (pack.sex >= 0))[0]
        test = np.nonzero(pack.held_out & np.isfinite(pack.age))[0]
        self.training, self.test = (_Labelled(pack, index, device) for index in (train, test))
        student = AttributesNet(self.config)
        if recogniser is not None:
            student.trunk.load_state_dict(recogniser.trunk.state_dict())
        super().__init__(
            "attributes", student, _WEIGHTS, batch=batch, learning_rate=learning_rate, decay=0.05, device=device
        )

    def terms(self, generator: torch.Generator, progress: float) -> Mapping[str, torch.Tensor]:
        """Return the losses of age, sex and group, each over the faces for which it is known."""
        del progress
        data = self.training
        index = torch.multinomial(data.weights, self.images_per_step, replacement=True, generator=generator)
        jitter = augment.Jitter(degrees=12, shift=0.04, scale=0.12)
        size = self.config.size_px
        matrices = augment.random_matrices(torch.eye(2, 3), len(index), size, jitter, generator)
        index = index.to(self.device)
        views = augment.cut_views(data.crops[index], matrices, size)
        views = augment.cover(augment.degrade(augment.vary_light(views, generator), generator), generator, 0.3)
        # dropout uses the global generator, which is seeded here so that a resumed run repeats it
        torch.manual_seed(int(torch.randint(2**31, (1,), generator=generator)))
        with autocast(self.device):
            years, female, group = self._student.logits(views.contiguous(memory_format=torch.channels_last))
        age, sex, true_group = data.age[index], data.sex[index], data.group[index]
        known = torch.isfinite(age)
        age_loss = _age_loss(years[known], age[known])
        sex_loss = functional.binary_cross_entropy_with_logits(female, sex * 0.96 + 0.02)
        group_loss = functional.cross_entropy(group, true_group, ignore_index=-1, label_smoothing=0.05)
        return {"age": age_loss, "sex": sex_loss, "group": group_loss}

    def evaluate(self) -> dict[str, float]:
        """Return the mean age error in years and the shares of right sexes and groups; see `Task.evaluate`."""
        self._average.eval()
        with torch.no_grad():
            eye = torch.eye(2, 3).expand(128, 2, 3)
            parts = [
                self._average(augment.cut_views(part, eye[: len(part)], self.config.size_px))
                for part in self.test.crops.split(128)
            ]
        given = torch.cat(parts)
        age_error = (given[:, 0] - self.test.age).abs()
        sex_right = ((given[:, 1] > 0.5) == (self.test.sex > 0.5)).float()
        group_right = (given[:, 2:].argmax(1) == self.test.group).float()
        adult = self.test.age >= 12
        return {
            "age_error_years": float(age_error.mean()),
            "sex_right": float(sex_right.mean()),
            "sex_right_from_12": float(sex_right[adult].mean()),
            "group_right": float(group_right.mean()),
        }


def _age_loss(years: torch.Tensor, age: torch.Tensor) -> torch.Tensor:
    if not len(age):
        return years.sum() * 0
    spread = (1.0 + 0.06 * age)[:, None]
    ticks = torch.arange(YEARS, dtype=torch.float32, device=years.device)[None]
    wanted = torch.exp(-0.5 * ((ticks - age[:, None].clamp(max=YEARS - 1)) / spread) ** 2)
    wanted = wanted / wanted.sum(1, keepdim=True)
    divergence = functional.kl_div(years.log_softmax(1), wanted, reduction="batchmean")
    return divergence + 0.1 * (mean_age(years) - age).abs().mean()


class _Labelled:
    """Faces of a pack with their labels and sampling weights, as tensors."""

    def __init__(self, pack: Pack, index: np.ndarray, device: str) -> None:
        self.crops = torch.from_numpy(pack.crops(index)).to(device)
        self.age = torch.from_numpy(pack.age[index]).to(device)
        self.sex = torch.from_numpy(pack.sex[index]).float().to(device)
        self.group = torch.from_numpy(pack.group[index]).long().to(device)
        band = np.where(np.isfinite(pack.age[index]), np.digitize(np.nan_to_num(pack.age[index]), AGE_BANDS), -1)
        _, cell, counts = np.unique(
            np.stack([band, pack.sex[index], pack.group[index]], 1), axis=0, return_inverse=True, return_counts=True
        )
        self.weights = torch.from_numpy(1 / np.sqrt(counts[cell.reshape(-1)])).float()
