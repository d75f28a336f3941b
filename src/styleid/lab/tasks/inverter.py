"""Training of the inverter: a face's crop -> W+, a main w plus a delta per row (after e4e, Tov et al. 2021).

The inverter learns from real faces, by comparing the generator's reconstruction with the crop, and from generated
faces, whose W+ is known. Deltas are kept small, because near the generator's w distribution images are better and edits
work as expected.

Convention
----------
Crops are float (n, 3, size_px, size_px), RGB in [-1, 1], under `CropTemplate.tight(size_px)`, the crop that the
generator was trained on. Outputs are W+, float32 (n, layers, width).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from styleid.errors import TrainingError
from styleid.faces.align import CropTemplate
from styleid.lab.data import augment
from styleid.lab.data.inner import draw_grid, inner_square
from styleid.lab.data.pack import Pack
from styleid.lab.networks.discriminator import Discriminator
from styleid.lab.networks.inverter import Inverter, InverterConfig
from styleid.lab.networks.stylegan2 import Generator
from styleid.lab.tasks.loop import read_state
from styleid.lab.tasks.optim import autocast
from styleid.lab.tasks.student import StudentTask
from styleid.types import ImageRGB

Embedder = Callable[[torch.Tensor], torch.Tensor]
"""Maps faces in the generator's crop, float (n, 3, side, side) in [-1, 1], to unit embeddings (n, d)."""

_TERMS = ("pixels", "features", "identity", "latent", "delta")
"""Names of the loss terms. `InverterOptions` has a weight of each name."""


def feature_distance(discriminator: Discriminator, one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Return the squared distance of images in a discriminator's normalised features.

    Args:
        discriminator: The discriminator.
        one: (n, 3, side, side) in [-1, 1].
        other: (n, 3, side, side) in [-1, 1].

    Returns:
        (n,).
    """
    pairs = zip(discriminator.features(one), discriminator.features(other), strict=True)
    gaps = [
        (functional.normalize(a.float(), dim=1) - functional.normalize(b.float(), dim=1)).square().sum(1).mean((1, 2))
        for a, b in pairs
    ]
    return torch.stack(gaps).mean(0)


@dataclass(frozen=True)
class InverterOptions:
    """Options of an inverter's training.

    Attributes:
        learning_rate: Peak of the learning rate.
        pixels: Weight of the squared pixel error.
        features: Weight of the distance in the discriminator's features.
        identity: Weight of 1 - cosine of the embeddings.
        latent: Weight of the squared error of known W+, in standard deviations of w.
        delta: Weight of the squared deltas, in standard deviations of w.
        progressive: Share of the run, 0 to 1, over which the deltas of the rows are enabled one after another.
        mixing: Share of generated faces that mix two w, 0 to 1.

    Raises:
        ValueError: If a value is out of range.
    """

    learning_rate: float = 1e-3
    pixels: float = 1.0
    features: float = 1.0
    identity: float = 0.5
    latent: float = 0.3
    delta: float = 0.05
    progressive: float = 0.3
    mixing: float = 0.3

    def __post_init__(self) -> None:
        weights = (self.pixels, self.features, self.identity, self.latent, self.delta)
        if self.learning_rate <= 0 or min(weights) < 0 or not any(weights):
            raise ValueError("learning_rate must be positive; weights must not be negative, and not all 0.")
        if not 0 <= self.progressive <= 1 or not 0 <= self.mixing <= 1:
            raise ValueError("progressive and mixing must be between 0 and 1.")


class InverterTask(StudentTask[Inverter]):
    """Trains an `Inverter` for a frozen generator; the result is `networks["inverter"]`."""

    def __init__(
        self,
        pack: Pack,
        generator: Generator,
        discriminator: Discriminator | None = None,
        identity: nn.Module | Embedder | None = None,
        *,
        config: InverterConfig | None = None,
        options: InverterOptions | None = None,
        batch: int = 32,
        device: str = "cpu",
    ) -> None:
        """Set up a training.

        Args:
            pack: A pack of tight crops.
            generator: The generator to invert.
            discriminator: Provides features for a loss; None leaves the loss out.
            identity: Embeds faces for a loss; None leaves the loss out.
            config: Shape of the inverter; None takes `InverterConfig.beside(generator.config)`.
            options: Options of the training.
            batch: Images per step, half real and half generated.
            device: cpu or cuda.

        Raises:
            TrainingError: If the pack's crops are not tight, or the inverter does not fit the generator.
        """
        torch.manual_seed(0)
        inner_square(pack.template)
        self.options = options or InverterOptions()
        self.config = config = config or InverterConfig.beside(generator.config)
        shape = generator.config
        if (config.layers, config.width, config.size_px) != (shape.layers, shape.width, shape.resolution):
            raise TrainingError(f"The inverter {config} does not fit the generator {shape}.")
        self._generator = generator.to(device).eval().requires_grad_(False)
        self._discriminator = None if discriminator is None else discriminator.to(device).eval().requires_grad_(False)
        self._identity = (
            identity.to(device).eval().requires_grad_(False) if isinstance(identity, nn.Module) else identity
        )
        self._crops = torch.from_numpy(pack.crops(np.nonzero(~pack.held_out)[0])).to(device)
        self._held_out = torch.from_numpy(pack.crops(np.nonzero(pack.held_out)[0][:512])).to(device)
        self._base = augment.base_matrix(pack.template, CropTemplate.tight(config.size_px))
        student = Inverter(config)
        student.mean, student.spread = _statistics(self._generator)
        weights = {name: getattr(self.options, name) for name in _TERMS}
        rate = self.options.learning_rate
        super().__init__("inverter", student, weights, batch=batch, learning_rate=rate, device=device)

    def terms(self, generator: torch.Generator, progress: float) -> Mapping[str, torch.Tensor]:
        """Return the loss terms of half a batch of real faces and half a batch of generated ones."""
        options = self.options
        known, made = self._generated(self.images_per_step // 2, generator)
        wanted = torch.cat([self._real(self.images_per_step - len(made), generator), made])
        active = (
            None if progress >= options.progressive else 1 + int(progress / options.progressive * self.config.layers)
        )
        with autocast(self.device):
            codes = self._student(wanted, active)
            drawn = self._generator(codes)
            losses = self._compare(drawn, wanted)
        spread = self._student.spread
        losses["latent"] = ((codes[-len(made) :] - known) / spread).square().mean()
        losses["delta"] = ((codes - codes[:, :1]) / spread).square().mean()
        return losses

    def evaluate(self) -> dict[str, float]:
        """Return reconstruction errors of held-out faces; `*_of_mean` are the same figures for the mean face."""
        wanted = self._plain(self._held_out)
        sums: dict[str, float] = {}
        with torch.no_grad():
            middle = self._generator(self._generator.broadcast(self._average.mean[None]))
            for part in wanted.split(64):
                drawn = self._generator(self._average.eval()(part))
                for end, images in (("", drawn), ("_of_mean", middle.expand_as(part))):
                    for name, value in self._compare(images, part).items():
                        sums[name + end] = sums.get(name + end, 0.0) + float(value) * len(part) / len(wanted)
        return sums

    def sheet(self) -> ImageRGB:
        """Draw up to 32 held-out faces: rows of eight faces, each above the row of their reconstructions."""
        count = min(32, len(self._held_out)) // 8 * 8 or len(self._held_out)
        wanted = self._plain(self._held_out[:count])
        with torch.no_grad():
            drawn = self._generator(self._average.eval()(wanted)).clamp(-1, 1)
        columns = min(8, count)
        rows = [part for pair in zip(wanted.split(columns), drawn.split(columns), strict=True) for part in pair]
        return draw_grid(torch.cat(rows), columns)

    def _compare(self, drawn: torch.Tensor, wanted: torch.Tensor) -> dict[str, torch.Tensor]:
        losses = {"pixels": functional.mse_loss(drawn.float(), wanted)}
        if self._discriminator is not None:
            losses["features"] = feature_distance(self._discriminator, drawn, wanted).mean()
        if self._identity is not None:
            losses["identity"] = 1 - (self._identity(drawn) * self._identity(wanted)).sum(1).mean()
        return losses

    def _real(self, n: int, generator: torch.Generator) -> torch.Tensor:
        index = torch.randint(len(self._crops), (n,), generator=generator)
        jitter = augment.Jitter(degrees=3, shift=0.02, scale=0.04)
        matrices = augment.random_matrices(self._base, n, self.config.size_px, jitter, generator)
        return augment.cut_views(self._crops[index.to(self.device)], matrices, self.config.size_px)

    def _plain(self, crops: torch.Tensor) -> torch.Tensor:
        return augment.cut_views(crops, self._base.expand(len(crops), 2, 3), self.config.size_px)

    def _generated(self, n: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """Return random W+ and the generator's images of them."""
        z = torch.randn(2 * n, self.config.width, generator=generator).to(self.device)
        cut = torch.randint(1, self.config.layers, (n, 1), generator=generator)
        mixed = torch.rand(n, 1, generator=generator) < self.options.mixing
        second = (mixed & (torch.arange(self.config.layers) >= cut))[:, :, None].to(self.device)
        with torch.no_grad(), autocast(self.device):
            w = self._generator.mapping(z)
            w_plus = torch.where(second, w[n:, None], w[:n, None])
            return w_plus, self._generator(w_plus).clamp(-1, 1)


def _statistics(generator: Generator, draws: int = 4096) -> tuple[torch.Tensor, torch.Tensor]:
    z = torch.randn(draws, generator.config.width, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        w = generator.mapping(z.to(generator.input.input.device))
    return w.mean(0), w.std(0).clamp(min=1e-3)


def load_inverter(folder: Path) -> Inverter:
    """Load a checkpoint's inverter, frozen and in evaluation mode. Its shape is inferred from its tensors.

    Raises:
        TrainingError: If the checkpoint is missing, cannot be read, or does not hold an inverter.
    """
    state = read_state(folder, "inverter")
    inverter = Inverter(InverterConfig.of_state(state))
    inverter.load_state_dict(state, strict=True)
    return inverter.eval().requires_grad_(False)
