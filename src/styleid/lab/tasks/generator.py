"""Training of a StyleGAN2 generator on a pack's faces.

Non-saturating logistic loss, lazy R1 and path-length regularisation, style mixing, adaptive augmentation, and a moving
average of the generator, which is the result (Karras et al. 2020, both papers).

Convention
----------
Faces are the inner square of a tight crop (`CropTemplate.tight` without its margin), float (n, 3, resolution,
resolution), RGB in [-1, 1]. z and all other random numbers are drawn on the CPU from the step's generator, except the
noise maps in training, which are drawn on the device with a seed from that generator.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from styleid.errors import TrainingError
from styleid.lab.data.inner import balanced_weights, draw_grid, inner_faces, inner_square, to_float, to_uint8
from styleid.lab.data.pack import Pack
from styleid.lab.networks.discriminator import Discriminator, DiscriminatorConfig
from styleid.lab.networks.stylegan2 import Generator, GeneratorConfig
from styleid.lab.tasks.adaptive import AdaptiveAugment, AdaptiveOptions
from styleid.lab.tasks.frechet import Features, describe, frechet_distance, pixels8, share_with_face
from styleid.lab.tasks.loop import read_state
from styleid.lab.tasks.optim import autocast, channels_last, update_average
from styleid.types import ImageRGB

_WARM_UP_STEPS = 100
_SHEET_SIDE = 8


@dataclass(frozen=True)
class GeneratorOptions:
    """Options of a generator's training.

    Attributes:
        learning_rate: Adam's learning rate, for both networks.
        r1: Weight of the gradient penalty on real images; 0 turns it off.
        r1_every: Steps between gradient penalties.
        path_length: Weight of the path-length regularisation; 0 turns it off.
        path_every: Steps between path-length regularisations.
        mixing: Share of generated images that mix two w, 0 to 1.
        average_images: Half-life of the moving average, in images.
        wider: The discriminator's channels divided by the generator's.
        balance: 0 draws all faces equally often, 1 all age bands, sexes and groups.
        synthetic_only: Train only on generated faces.
        compiled: Use torch.compile.
        detected: Number of samples that the face detector gets in an evaluation; 0 skips it.
        adaptive: Options of the adaptive augmentation.

    Raises:
        ValueError: If a value is out of range.
    """

    learning_rate: float = 2e-3
    r1: float = 1.0
    r1_every: int = 16
    path_length: float = 0.0
    path_every: int = 8
    mixing: float = 0.9
    average_images: int = 10_000
    wider: float = 2.0
    balance: float = 0.5
    synthetic_only: bool = False
    compiled: bool = False
    detected: int = 64
    adaptive: AdaptiveOptions = field(default_factory=AdaptiveOptions)

    def __post_init__(self) -> None:
        if self.r1_every < 1 or self.path_every < 1 or self.average_images < 1:
            raise ValueError("r1_every, path_every and average_images must be at least 1.")
        if not 0 <= self.mixing <= 1 or not 0 <= self.balance <= 1:
            raise ValueError("mixing and balance must be between 0 and 1.")
        if self.learning_rate <= 0 or self.wider <= 0 or self.r1 < 0 or self.path_length < 0:
            raise ValueError("learning_rate and wider must be positive; r1 and path_length must not be negative.")


class GeneratorTask:
    """Trains a `Generator` against a `Discriminator`; implements `styleid.lab.tasks.loop.Task`.

    The result is `networks["average"]`.
    """

    def __init__(
        self,
        pack: Pack,
        config: GeneratorConfig | None = None,
        options: GeneratorOptions | None = None,
        *,
        batch: int = 32,
        device: str = "cpu",
        features: Features | None = None,
        features_name: str = "features",
    ) -> None:
        """Set up a training.

        Args:
            pack: A pack of tight crops.
            config: The generator's shape; None takes the pack's inner square, at most 128 px.
            options: Options of the training.
            batch: Images per step.
            device: cpu or cuda.
            features: Feature function of the Fréchet distance; None uses images of 8 x 8 px ("pixels8").
            features_name: Name of the features in the figures.

        Raises:
            TrainingError: If the pack has no training face or fewer than two held-out faces, its crops are not tight,
                or they are smaller than the resolution.
        """
        torch.manual_seed(0)
        _prepare(device)
        self.options = options = options or GeneratorOptions()
        self.config = config = config or GeneratorConfig.mini(min(128, inner_square(pack.template)[0]))
        self.device, self.images_per_step = device, batch
        self._features, self._features_name = (features, features_name) if features else (pixels8, "pixels8")
        chosen = pack.synthetic if options.synthetic_only else np.ones(len(pack), bool)
        train, test = np.nonzero(chosen & ~pack.held_out)[0], np.nonzero(chosen & pack.held_out)[0]
        if len(train) == 0 or len(test) < 2:
            raise TrainingError(
                f"The pack holds {len(train)} training and {len(test)} held-out faces that can be used. "
                "At least 1 and 2 are needed."
            )
        self._faces = inner_faces(pack, train, config.resolution).to(device)
        self._held_out = inner_faces(pack, test[:2048], config.resolution).to(device)
        self._weights = torch.from_numpy(balanced_weights(pack, train, options.balance))

        self._generator = channels_last(Generator(config), device)
        self._discriminator = channels_last(Discriminator(DiscriminatorConfig.beside(config, options.wider)), device)
        self._average = Generator(config).to(device).requires_grad_(False)
        self._average.load_state_dict(self._generator.state_dict())
        self._state = _State()
        self._augment = AdaptiveAugment(options.adaptive).to(device)
        self._path_mean = _Mean().to(device)
        self.networks: dict[str, nn.Module] = {
            "generator": self._generator,
            "discriminator": self._discriminator,
            "average": self._average,
            "augment": self._augment,
            "path": self._path_mean,
            "state": self._state,
        }
        self._optimizers = {
            "generator": _adam(self._generator, options, options.path_every if options.path_length else 0),
            "discriminator": _adam(self._discriminator, options, options.r1_every if options.r1 else 0),
        }
        self.optimizers: dict[str, torch.optim.Optimizer] = dict(self._optimizers)
        self._rates = {name: optimizer.param_groups[0]["lr"] for name, optimizer in self._optimizers.items()}
        self._draw = torch.compile(self._generator) if options.compiled else self._generator
        self._judge = torch.compile(self._discriminator) if options.compiled else self._discriminator
        self._seen: dict[str, torch.Tensor] = {}

    def step(self, generator: torch.Generator, progress: float) -> Mapping[str, torch.Tensor]:
        """Train the discriminator, then the generator, on one batch each."""
        del progress  # the learning rate is constant, because the moving average replaces a schedule
        step = self._begin_step()
        self._seen |= {"discriminator": self._train_discriminator(generator, step)}
        self._seen |= {"generator": self._train_generator(generator, step)}
        images = (step + 1) * self.images_per_step
        half_life = min(self.options.average_images, 0.05 * images)
        update_average(self._average, self._generator, 0.5 ** (self.images_per_step / half_life))
        return self._seen | {"p": self._augment.p.clone(), "sign": self._augment.sign.clone()}

    def evaluate(self) -> dict[str, float]:
        """Return the Fréchet distance of samples to held-out faces and, for comparison, of training to held-out faces.

        Also returns the augmentation's p and, if `options.detected`, the share of samples with a detected face.
        """
        n = min(len(self._held_out), len(self._faces))
        images = self._samples(n, seed=1)
        made, real, other = (
            describe(part, self._features)
            for part in (images, to_float(self._held_out[:n]), to_float(self._faces[:: len(self._faces) // n][:n]))
        )
        name = f"frechet_{self._features_name}"
        measured = {
            name: frechet_distance(made, real),
            f"{name}_of_real": frechet_distance(other, real),
            "p": float(self._augment.p),
        }
        if self.options.detected:
            measured["faces_found"] = share_with_face(to_uint8(images[: self.options.detected]))
        return measured

    def sheet(self) -> ImageRGB:
        """Draw 8 x 8 samples of the moving average, always with the same z."""
        return draw_grid(self._samples(_SHEET_SIDE**2, seed=0), _SHEET_SIDE)

    def _begin_step(self) -> int:
        """Count the step and set the learning rates, which warm up if Adam starts without its moments."""
        step = int(self._state.steps)
        if not self._optimizers["generator"].state:
            self._state.warm_from.fill_(step)
        warmth = min(1.0, (step - int(self._state.warm_from) + 1) / _WARM_UP_STEPS)
        for name, optimizer in self._optimizers.items():
            for group in optimizer.param_groups:
                group["lr"] = self._rates[name] * warmth
        self._state.steps.add_(1)
        return step

    def _train_discriminator(self, generator: torch.Generator, step: int) -> torch.Tensor:
        optimizer = self._optimizers["discriminator"]
        self._discriminator.requires_grad_(True)
        with torch.no_grad(), autocast(self.device):
            fake = self._augment(self._draw(*self._latents(generator, self.images_per_step)), generator)
            real = self._augment(self._real(generator), generator)
        with autocast(self.device):
            real_scores = self._judge(real)
            loss = functional.softplus(self._judge(fake)).mean() + functional.softplus(-real_scores).mean()
        self._update(optimizer, loss)
        self._augment.adapt(real_scores.detach())
        if self.options.r1 and step % self.options.r1_every == 0:
            real.requires_grad_(True)
            (slope,) = torch.autograd.grad(self._discriminator(real).sum(), real, create_graph=True)
            penalty = slope.square().sum((1, 2, 3)).mean()
            self._update(optimizer, penalty * (self.options.r1 / 2 * self.options.r1_every))
            self._seen["r1"] = penalty.detach()
        return loss.detach()

    def _train_generator(self, generator: torch.Generator, step: int) -> torch.Tensor:
        optimizer, options = self._optimizers["generator"], self.options
        self._discriminator.requires_grad_(False)
        with autocast(self.device):
            fake = self._draw(*self._latents(generator, self.images_per_step))
            loss = functional.softplus(-self._judge(self._augment(fake, generator))).mean()
        self._update(optimizer, loss)
        if options.path_length and step % options.path_every == 0:
            penalty = self._path_penalty(generator)
            self._update(optimizer, penalty * (options.path_length * options.path_every))
            self._seen["path"] = penalty.detach()
        return loss.detach()

    def _path_penalty(self, generator: torch.Generator) -> torch.Tensor:
        """Return the path-length penalty (Karras et al. 2020), in float32 on half a batch."""
        w_plus, noises = self._latents(generator, max(1, self.images_per_step // 2))
        images = self._generator(w_plus, noises)
        probe = torch.randn(images.shape, generator=generator).to(images.device) / self.config.resolution
        (slope,) = torch.autograd.grad((images * probe).sum(), w_plus, create_graph=True)
        lengths = slope.square().sum(2).mean(1).sqrt()
        mean = self._path_mean.value.lerp(lengths.detach().mean(), 0.01)
        self._path_mean.value.copy_(mean)
        return (lengths - mean).square().mean()

    def _update(self, optimizer: torch.optim.Optimizer, loss: torch.Tensor) -> None:
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    def _latents(self, generator: torch.Generator, n: int) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Draw W+ and noise maps. A share `options.mixing` of the images mixes two w (style mixing)."""
        layers = self.config.layers
        z = torch.randn(2 * n, self.config.width, generator=generator).to(self.device, non_blocking=True)
        cut = torch.randint(1, layers, (n, 1), generator=generator)
        mixed = torch.rand(n, 1, generator=generator) < self.options.mixing
        second = (mixed & (torch.arange(layers) >= cut))[:, :, None].to(self.device, non_blocking=True)
        w = self._generator.mapping(z)
        w_plus = torch.where(second, w[n:, None], w[:n, None])
        noise_seed = int(torch.randint(2**31, (1,), generator=generator))
        on_device = torch.Generator(self.device).manual_seed(noise_seed)
        return w_plus, self._generator.random_noises(n, on_device)

    def _real(self, generator: torch.Generator) -> torch.Tensor:
        index = torch.multinomial(self._weights, self.images_per_step, replacement=True, generator=generator)
        mirrored = torch.rand(len(index), 1, 1, 1, generator=generator) < 0.5
        images = to_float(self._faces[index.to(self.device, non_blocking=True)])
        return torch.where(mirrored.to(self.device, non_blocking=True), images.flip(3), images)

    def _samples(self, n: int, seed: int) -> torch.Tensor:
        """Return n images of the moving average in [-1, 1], drawn with its stored noise."""
        z = torch.randn(n, self.config.width, generator=torch.Generator().manual_seed(seed))
        average = self._average
        with torch.no_grad():
            parts = [average(average.broadcast(average.mapping(part.to(self.device)))) for part in z.split(64)]
        return torch.cat(parts).clamp(-1, 1)


class _State(nn.Module):
    """Step counters on the CPU, where reading them needs no synchronisation with the GPU."""

    steps: torch.Tensor
    warm_from: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self.register_buffer("warm_from", torch.zeros((), dtype=torch.int64))


class _Mean(nn.Module):
    value: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("value", torch.zeros(()))


def _adam(network: nn.Module, options: GeneratorOptions, every: int) -> torch.optim.Adam:
    """Return Adam, corrected for one extra regularisation step every `every` steps (0: none), as StyleGAN2 does."""
    pace = every / (every + 1) if every else 1.0
    return torch.optim.Adam(network.parameters(), options.learning_rate * pace, (0.0, 0.99**pace), fused=True)


def _prepare(device: str) -> None:
    if torch.device(device).type == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
        torch.backends.cudnn.benchmark = True


def load_generator(folder: Path, name: str = "average") -> Generator:
    """Load a checkpoint's generator, frozen and in evaluation mode. Its shape is inferred from its tensors.

    Args:
        folder: The checkpoint's folder.
        name: The network's name in the checkpoint.

    Raises:
        TrainingError: If the checkpoint is missing, cannot be read, or does not hold the network.
    """
    state = read_state(folder, name)
    generator = Generator(GeneratorConfig.of_state(state))
    generator.load_state_dict(state, strict=True)
    return generator.eval().requires_grad_(False)


def load_discriminator(folder: Path) -> Discriminator:
    """Load a checkpoint's discriminator, frozen and in evaluation mode. Its shape is inferred from its tensors.

    Args:
        folder: The checkpoint's folder.

    Raises:
        TrainingError: If the checkpoint is missing, cannot be read, or does not hold a discriminator.
    """
    state = read_state(folder, "discriminator")
    discriminator = Discriminator(DiscriminatorConfig.of_state(state))
    discriminator.load_state_dict(state, strict=True)
    return discriminator.eval().requires_grad_(False)
