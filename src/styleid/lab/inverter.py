"""The inverter: a face's crop -> W+, a main w plus a delta per row (after e4e, Tov et al. 2021).

It learns from real faces, by how the generator draws what it said, and from generated ones, whose W+ is known. Deltas
are kept small, which keeps the codes where the generator is at its best and edits behave.

Convention
----------
Crops are float (n, 3, size_px, size_px), RGB in [-1, 1], under `CropTemplate.tight(size_px)`: the frame that the
generator draws in. Outputs are W+, float32 (n, layers, width).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from styleid.errors import TrainingError
from styleid.faces.align import CropTemplate
from styleid.lab import augment
from styleid.lab.discriminator import Discriminator
from styleid.lab.export import ExportReport, export_network
from styleid.lab.generator_task import channels_last, read_state
from styleid.lab.inner import draw_grid, inner_square
from styleid.lab.optim import adam_with_decay, autocast, descend, set_learning_rate
from styleid.lab.pack import Pack
from styleid.lab.stylegan2 import Generator, GeneratorConfig
from styleid.types import ImageRGB

Embedder = Callable[[torch.Tensor], torch.Tensor]
"""Faces in the generator's frame, float (n, 3, side, side) in [-1, 1], to unit vectors (n, d)."""

_SMALLEST_SIDE = 4


@dataclass(frozen=True)
class InverterConfig:
    """Shape an inverter.

    layers, width: of W+. size_px: side of the crop, a power of two from 16 on. levels: the first row of each level
    after the coarse one; each level reads a feature map of twice the side of the level before, from 4 px on. widths:
    channels at size_px / 2, / 4, ... 4. lateral: channels in which the levels' maps are merged. pooled: channels that a
    head reads at 4 x 4.
    """

    layers: int = 12
    width: int = 256
    size_px: int = 128
    levels: tuple[int, ...] = (4, 8)
    widths: tuple[int, ...] = (32, 64, 128, 192, 256)
    lateral: int = 128
    pooled: int = 64

    def __post_init__(self) -> None:
        if self.size_px < 16 or self.size_px & (self.size_px - 1):
            raise ValueError(f"An inverter's crop has a power of two of pixels from 16 on, not {self.size_px}.")
        if len(self.widths) != self.size_px.bit_length() - 3:
            raise ValueError(f"{self.size_px} px need {self.size_px.bit_length() - 3} widths, not {len(self.widths)}.")
        starts = (0, *self.levels, self.layers)
        if any(a >= b for a, b in pairwise(starts)) or len(self.levels) >= len(self.widths):
            raise ValueError(f"Levels {self.levels} do not divide {self.layers} rows over {len(self.widths)} maps.")

    @classmethod
    def beside(cls, generator: GeneratorConfig, most_channels: int = 256) -> InverterConfig:
        """Return an inverter for a generator, in thirds of its rows."""
        stages = generator.resolution.bit_length() - 3
        widths = tuple(min(32 << i, 192 if i == 3 else 256, most_channels) for i in range(stages))
        third = generator.layers / 3
        levels = tuple(round(third * i) for i in (1, 2)) if stages > 2 else (generator.layers // 2,)
        lateral, pooled = min(128, most_channels), min(64, most_channels)
        return cls(generator.layers, generator.width, generator.resolution, levels, widths, lateral, pooled)

    @classmethod
    def of_state(cls, state: Mapping[str, torch.Tensor]) -> InverterConfig:
        """Read the shape off a state dict; raises TrainingError where it is no inverter's."""
        try:
            width = state["mean"].shape[0]
            widths = [
                w.shape[0] for name, w in state.items() if name.startswith("stages.") and "skip.1.0.weight" in name
            ]
            rows = [w.shape[0] // width for name, w in state.items() if name.startswith("heads.") and ".3.bias" in name]
            levels = tuple(int(start) for start in np.cumsum(rows)[:-1])
            lateral, pooled = state["heads.0.0.weight"].shape[1], state["heads.0.0.weight"].shape[0]
            return cls(sum(rows), width, 4 << len(widths), levels, tuple(widths), lateral, pooled)
        except (KeyError, IndexError, ValueError) as error:
            raise TrainingError(f"These tensors are not those of an inverter ({error}).") from error


class Inverter(nn.Module):
    """Read W+ off crops; see the module's convention. `mean` and `spread` are those of the generator's w."""

    mean: torch.Tensor
    spread: torch.Tensor

    def __init__(self, config: InverterConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or InverterConfig()
        before = [config.widths[0], *config.widths]
        self.stem = _conv(3, config.widths[0])
        self.stages = nn.ModuleList(_Down(a, b) for a, b in zip(before, config.widths, strict=False))
        starts = (0, *config.levels, config.layers)
        rows = [b - a for a, b in pairwise(starts)]
        self.laterals = nn.ModuleList(nn.Conv2d(config.widths[-1 - i], config.lateral, 1) for i in range(len(rows)))
        self.heads = nn.ModuleList(_head(config, count) for count in rows)
        self.register_buffer("mean", torch.zeros(config.width))
        self.register_buffer("spread", torch.ones(config.width))

    def forward(self, crops: torch.Tensor, active: int | None = None) -> torch.Tensor:
        """Return W+; rows from `active` on get no delta."""
        x = self.stem(crops)
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        merged, found = None, []
        for level, (lateral, head) in enumerate(zip(self.laterals, self.heads, strict=True)):
            x = lateral(maps[-1 - level])  # (n, lateral, 4 << level, 4 << level)
            merged = x if merged is None else x + functional.interpolate(merged, scale_factor=2.0, mode="nearest")
            found.append(head(merged).float().unflatten(1, (-1, self.config.width)))
        codes = torch.cat(found, 1)
        main, deltas = codes[:, :1], codes[:, 1:]
        if active is not None:
            deltas = deltas * (torch.arange(1, self.config.layers, device=deltas.device) < active)[:, None]
        return self.mean + self.spread * torch.cat([main, main + deltas], 1)


def _conv(before: int, after: int, stride: int = 1, kernel: int = 3) -> nn.Sequential:
    conv = nn.Conv2d(before, after, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(after), nn.LeakyReLU(0.1))


class _Down(nn.Module):
    """Halve the side, with a residual block after it."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.body = nn.Sequential(_conv(before, after, stride=2), _conv(after, after))
        self.skip = nn.Sequential(nn.AvgPool2d(2), _conv(before, after, kernel=1))
        self.more = nn.Sequential(_conv(after, after), _conv(after, after))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.body(x) + self.skip(x)
        return x + self.more(x)


def _head(config: InverterConfig, rows: int) -> nn.Sequential:
    last = nn.Linear(config.pooled * _SMALLEST_SIDE**2, rows * config.width)
    nn.init.normal_(last.weight, std=0.01)
    nn.init.zeros_(last.bias)
    reduce = nn.Conv2d(config.lateral, config.pooled, 1)
    return nn.Sequential(reduce, nn.LeakyReLU(0.1), _PooledFlat(), last)


class _PooledFlat(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.avg_pool2d(x, x.shape[-1] // _SMALLEST_SIDE).flatten(1)


class InnerEmbedder(nn.Module):
    """Let a network for `CropTemplate.arcface112` views embed faces in the generator's frame, differentiably."""

    grid: torch.Tensor

    def __init__(self, network: nn.Module, side_px: int) -> None:
        super().__init__()
        self.network = network
        view = CropTemplate.arcface112()
        matrix = augment.base_matrix(CropTemplate.tight(side_px), view)
        self.register_buffer("grid", augment.sampling_grid(matrix[None], view.size_px, side_px))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Embed (n, 3, side_px, side_px) to (n, d), unit length."""
        grid = self.grid.expand(images.shape[0], -1, -1, -1)
        return self.network(
            functional.grid_sample(images.float(), grid, padding_mode="reflection", align_corners=False)
        )


def feature_distance(discriminator: Discriminator, one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Return how far two batches of images lie apart in a discriminator's normalised features, (n,)."""
    pairs = zip(discriminator.features(one), discriminator.features(other), strict=True)
    gaps = [
        (functional.normalize(a.float(), dim=1) - functional.normalize(b.float(), dim=1)).square().sum(1).mean((1, 2))
        for a, b in pairs
    ]
    return torch.stack(gaps).mean(0)


@dataclass(frozen=True)
class InverterOptions:
    """Choose how an inverter is trained.

    learning_rate: its peak. pixels, features, identity, latent, delta: weights of the squared error, the distance in
    the discriminator's features, one minus the cosine of identities, the squared error of known W+, and the squared
    deltas, the last two in units of w's spread. progressive: share of the run in which the rows' deltas are let in one
    after the other. mixing: share of generated faces that mix two w.
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
            raise ValueError("An inverter's learning rate is positive; its weights are not negative, nor all zero.")
        if not 0 <= self.progressive <= 1 or not 0 <= self.mixing <= 1:
            raise ValueError("progressive and mixing are shares between 0 and 1.")


class InverterTask:
    """Train an `Inverter` for a frozen generator; `networks["inverter"]` is the result."""

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
        """Set up a training; without a discriminator or an identity network their losses are left out."""
        torch.manual_seed(0)
        inner_square(pack.template)
        self.options = options or InverterOptions()
        self.config = config = config or InverterConfig.beside(generator.config)
        shape = generator.config
        if (config.layers, config.width, config.size_px) != (shape.layers, shape.width, shape.resolution):
            raise TrainingError(f"The inverter {config} does not fit the generator {shape}.")
        self.device, self.images_per_step = device, batch
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
        self._student = channels_last(student.to(device))
        self._average = Inverter(config).to(device).requires_grad_(False)
        self._average.load_state_dict(self._student.state_dict())
        self.networks: dict[str, nn.Module] = {"student": self._student, "inverter": self._average}
        self._optimizer = adam_with_decay(self._student, self.options.learning_rate)
        self.optimizers: dict[str, torch.optim.Optimizer] = {"student": self._optimizer}

    def step(self, generator: torch.Generator, progress: float) -> Mapping[str, torch.Tensor]:
        """Train on half a batch of real faces and half a batch of generated ones."""
        options = self.options
        set_learning_rate(self._optimizer, options.learning_rate, progress)
        known, made = self._generated(self.images_per_step // 2, generator)
        wanted = torch.cat([self._real(self.images_per_step - len(made), generator), made])
        active = (
            None if progress >= options.progressive else 1 + int(progress / options.progressive * self.config.layers)
        )
        self._student.train()
        with autocast(self.device):
            codes = self._student(wanted, active)
            drawn = self._generator(codes)
            losses = self._compare(drawn, wanted)
        spread = self._student.spread
        losses["latent"] = ((codes[-len(made) :] - known) / spread).square().mean()
        losses["delta"] = ((codes - codes[:, :1]) / spread).square().mean()
        loss = torch.stack([getattr(options, name) * value for name, value in losses.items()]).sum()
        descend(loss, self._optimizer, self._student, self._average)
        return {name: value.detach() for name, value in losses.items()}

    def evaluate(self) -> dict[str, float]:
        """Reconstruct held-out faces; `..._of_mean` is the same figure for the mean face."""
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
        """Draw up to 32 held-out faces, each row of eight over its reconstructions."""
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
        """Return W+ and the images that the generator draws of it."""
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
    """Load a checkpoint's inverter, frozen and in evaluation mode; its shape is read off its tensors."""
    state = read_state(folder, "inverter")
    inverter = Inverter(InverterConfig.of_state(state))
    inverter.load_state_dict(state, strict=True)
    return inverter.eval().requires_grad_(False)


def export_inverter(inverter: Inverter, path: Path, **options: Any) -> ExportReport:
    """Write inverter.onnx: crop (n, 3, size_px, size_px) in [-1, 1] -> w_plus (n, layers, width)."""
    side = inverter.config.size_px
    crops = torch.rand(3, 3, side, side, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return export_network(inverter, {"crop": crops}, ["w_plus"], path, **options)
