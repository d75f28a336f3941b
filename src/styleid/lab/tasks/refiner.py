"""Training of the refiner, which makes the appearance model's renderings as sharp as photos.

The refiner is a small U-Net. It learns to reconstruct real faces from their codes and, against a discriminator that
gets only the face, to make faces of mixed codes look real. Mixed codes have one person's pose, expression and light and
everything else from other people. A low-pass term lets the refiner add detail but not change the face.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from styleid.lab.data import augment
from styleid.lab.data.pack import Pack
from styleid.lab.networks.aam import ATTRIBUTE_ROW, ActiveAppearanceModel
from styleid.lab.networks.refiner import FaceCritic, Refiner, RefinerConfig
from styleid.lab.tasks.aam_fit import face_visibility
from styleid.lab.tasks.optim import autocast, averaging_decay, channels_last, update_average

_R1_EVERY = 16


class RefinerTask:
    """Trains a `Refiner` for a fitted appearance model; implements `styleid.lab.tasks.loop.Task`.

    The result is `networks["refiner"]`.

    Args:
        pack: Training and held-out faces.
        model: The fitted appearance model.
        parser: A `ParserNet` for the pack's crops; it finds where a face is covered.
        config: Size of the refiner; None uses the default.
        batch: Images per step, half of them real faces and half mixed codes.
        learning_rate: Learning rate of both networks.
        device: cpu or cuda.
    """

    def __init__(
        self,
        pack: Pack,
        model: ActiveAppearanceModel,
        parser: nn.Module,
        config: RefinerConfig | None = None,
        *,
        batch: int = 16,
        learning_rate: float = 1e-3,
        device: str = "cpu",
    ) -> None:
        torch.manual_seed(0)
        self.device, self.images_per_step, self.learning_rate = device, batch, learning_rate
        self._model = model.to(device).requires_grad_(False)
        faces = _Codes(pack, self._model, parser)
        self.codes, self._shown = faces.codes.to(device), faces.shown.to(device)
        clear = faces.bare & faces.sharp & ~pack.held_out
        self._real = torch.from_numpy(np.nonzero(clear)[0])
        self._people = torch.from_numpy(np.nonzero(pack.synthetic & ~pack.held_out)[0])
        self._sources = torch.from_numpy(np.nonzero(~pack.held_out)[0])
        self._weights = _even_weights(pack)[self._real]
        self._crops = torch.from_numpy(pack.crops()).to(device)
        test = np.nonzero(faces.bare & faces.sharp & pack.held_out)[0]
        self._test = torch.from_numpy(test[np.linspace(0, len(test) - 1, min(len(test), 128)).astype(int)])
        self._refiner = channels_last(Refiner(config), device)
        self._average = Refiner(config).to(device).requires_grad_(False)
        self._average.load_state_dict(self._refiner.state_dict())
        self._critic = channels_last(FaceCritic(), device)
        self.networks: dict[str, nn.Module] = {
            "student": self._refiner,
            "refiner": self._average,
            "critic": self._critic,
        }
        self._optimizer = torch.optim.Adam(self._refiner.parameters(), learning_rate, (0.0, 0.99), fused=True)
        self._critic_optimizer = torch.optim.Adam(self._critic.parameters(), learning_rate, (0.0, 0.99), fused=True)
        self.optimizers: dict[str, torch.optim.Optimizer] = {
            "student": self._optimizer,
            "critic": self._critic_optimizer,
        }

    def step(self, generator: torch.Generator, progress: float) -> Mapping[str, torch.Tensor]:
        """Train the critic, then the refiner, on one batch; see `Task.step`."""
        rate = self.learning_rate * (1.0 if progress < 0.6 else max(0.02, (1 - progress) / 0.4))
        for optimizer in self.optimizers.values():
            for group in optimizer.param_groups:
                group["lr"] = rate
        half = self.images_per_step // 2
        pick = torch.multinomial(self._weights, half, replacement=True, generator=generator)
        real = self._real[pick]
        photo = self._images(real)
        with torch.no_grad():
            codes = torch.cat([self.codes[real], self.mixed_codes(half, generator)])
            rendered, coverage = self._model(codes)
        coverage = coverage * (coverage > 0.02)
        shown = coverage[:half] * self._shown_of(real)
        with autocast(self.device):
            refined = self._refiner(rendered.contiguous(memory_format=torch.channels_last)).float()
        matrices = augment.random_matrices(
            torch.eye(2, 3), 2 * half, photo.shape[-1], augment.Jitter(8, 0.05, 0.1), generator
        )
        real_view = self._view(photo, shown, matrices[:half])
        fake_cover = torch.cat([shown, coverage[half:]])
        losses = self._train_critic(real_view, self._view(refined.detach(), fake_cover, matrices), half)
        covers = shown, fake_cover
        return losses | self._train_refiner(refined, rendered, photo, covers, real_view=real_view, matrices=matrices)

    def _train_critic(self, real_view: torch.Tensor, fake_view: torch.Tensor, half: int) -> dict[str, torch.Tensor]:
        self._critic.steps += 1
        with autocast(self.device):
            on_real = self._critic(real_view)[0]
            on_fake = self._critic(fake_view)[0]
        loss = functional.softplus(-on_real).mean() + 0.5 * (
            functional.softplus(on_fake[:half]).mean() + functional.softplus(on_fake[half:]).mean()
        )
        if int(self._critic.steps) % _R1_EVERY == 0:
            watched = real_view.detach().requires_grad_(True)
            with autocast(self.device):
                scores = self._critic(watched)[0]
            (gradient,) = torch.autograd.grad(scores.mean(1).sum(), watched, create_graph=True)
            loss = loss + 0.5 * _R1_EVERY * 0.5 * gradient.square().sum((1, 2, 3)).mean()
        self._critic_optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self._critic_optimizer.step()
        return {"critic": loss.detach(), "on_real": on_real.mean().detach(), "on_fake": on_fake.mean().detach()}

    def _train_refiner(
        self,
        refined: torch.Tensor,
        rendered: torch.Tensor,
        photo: torch.Tensor,
        covers: tuple[torch.Tensor, torch.Tensor],
        *,
        real_view: torch.Tensor,
        matrices: torch.Tensor,
    ) -> dict[str, torch.Tensor]:
        half, (shown, fake_cover) = len(photo), covers
        self._critic.requires_grad_(False)
        with autocast(self.device):
            on_fake, features = self._critic(self._view(refined, fake_cover, matrices))
            with torch.no_grad():
                wanted = self._critic(real_view)[1]
        self._critic.requires_grad_(True)
        adversarial = functional.softplus(-on_fake).mean()
        pairs = [(f[:half].float(), w.float()) for f, w in zip(features, wanted, strict=True)]
        alike = torch.stack([(f - w).abs().mean() / w.abs().mean() for f, w in pairs]).mean()
        rebuilt = ((refined[:half] - photo).abs() * shown).sum() / (3 * shown.sum() + 1)
        low = functional.avg_pool2d((refined - rendered) * fake_cover, 8).abs().mean()
        loss = adversarial + 2 * alike + 4 * rebuilt + 8 * low
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self._optimizer.step()
        update_average(self._average, self._refiner, averaging_decay(self._optimizer))
        terms = {"adversarial": adversarial, "features": alike, "pixels": rebuilt, "low_pass": low}
        return {name: term.detach() for name, term in terms.items()}

    def _view(self, images: torch.Tensor, cover: torch.Tensor, matrices: torch.Tensor) -> torch.Tensor:
        size = images.shape[-1]
        grid = augment.sampling_grid(matrices.to(images.device), size, size)
        masked = images * cover
        view = functional.grid_sample(masked, grid, padding_mode="zeros", align_corners=False)
        return view.contiguous(memory_format=torch.channels_last)

    def _images(self, index: torch.Tensor) -> torch.Tensor:
        return self._crops[index.to(self.device)].permute(0, 3, 1, 2).float() / 127.5 - 1

    def _shown_of(self, index: torch.Tensor) -> torch.Tensor:
        small = self._shown[index.to(self.device)][:, None].float() / 255
        return functional.interpolate(small, self._crops.shape[1], mode="bilinear")

    def mixed_codes(self, n: int, generator: torch.Generator) -> torch.Tensor:
        """Return random codes (n, layers, w) that combine a face with a mix of three generated people.

        Pose, placement, expression and light come from a training face; the attribute row from it or from the mix;
        shape and texture from the mix.

        Args:
            n: Number of codes.
            generator: Source of random numbers.
        """
        sources = self._sources[torch.randint(len(self._sources), (n,), generator=generator)]
        people = self._people[torch.randint(len(self._people), (n, 3), generator=generator)]
        share = -torch.log(torch.rand(n, 3, generator=generator).clamp_min(1e-6))
        share = share / share.sum(1, keepdim=True)
        share = (share / share.square().sum(1, keepdim=True).sqrt()).to(self.device)
        mixed = (self.codes[people.to(self.device)] * share[..., None, None]).sum(1)
        own = self.codes[sources.to(self.device)]
        keep_attributes = (torch.rand(n, 1, generator=generator) < 0.7).to(self.device)
        mixed[:, :ATTRIBUTE_ROW] = own[:, :ATTRIBUTE_ROW]
        mixed[:, ATTRIBUTE_ROW] = torch.where(keep_attributes, own[:, ATTRIBUTE_ROW], mixed[:, ATTRIBUTE_ROW])
        return mixed

    def evaluate(self) -> dict[str, float]:
        """Return the reconstruction error, and the fine detail of renderings before and after refinement.

        Detail is relative to that of the photos; see `Task.evaluate`.
        """
        photo = self._images(self._test)
        with torch.no_grad():
            rendered, coverage = self._model(self.codes[self._test.to(self.device)])
            refined = torch.cat([self._average(part) for part in rendered.split(16)])
        cover = coverage * self._shown_of(self._test)
        detail = [_detail(image, cover) for image in (photo, rendered, refined)]
        error = ((refined - photo).abs() * cover).sum() / (3 * cover.sum())
        shares = {"detail_rendered": detail[1] / detail[0], "detail_refined": detail[2] / detail[0]}
        return {"rebuilt": float(error)} | shares

    def sheet(self) -> np.ndarray[Any, np.dtype[np.uint8]]:
        """Show rows of eight held-out photos, their renderings and refinements, then of mixed codes, also both."""
        index = self._test[:: max(1, len(self._test) // 8)][:8]
        with torch.no_grad():
            mixed = self.mixed_codes(16, torch.Generator().manual_seed(1))
            codes = torch.cat([self.codes[index.to(self.device)], mixed])
            rendered, coverage = self._model(codes)
            refined = torch.cat([self._average(part) for part in rendered.split(8)])
        n = len(index)
        rows = [self._images(index), rendered[:n], refined[:n] * coverage[:n]]
        for start in (n, n + 8):
            rows += [rendered[start : start + 8], refined[start : start + 8] * coverage[start : start + 8]]
        picture = torch.cat([torch.cat(list(row), 2) for row in rows if len(row) == 8], 1)
        return ((picture.permute(1, 2, 0).cpu().numpy() + 1) * 127.5).clip(0, 255).astype(np.uint8)


class _Codes:
    """The codes of a pack's faces, and which faces are visible and sharp enough to train on.

    `bare` and `sharp` are the faces above a quantile of the visible share and of the fine detail.
    """

    def __init__(self, pack: Pack, model: ActiveAppearanceModel, parser: nn.Module) -> None:
        codes, shown, bare, sharpness = [], [], [], []
        landmarks = torch.from_numpy(pack.landmarks68)
        for start in range(0, len(pack), 64):
            rows = np.arange(start, min(start + 64, len(pack)))
            crops = torch.from_numpy(pack.crops(rows)).permute(0, 3, 1, 2).float() / 127.5 - 1
            valid = torch.from_numpy(np.stack([pack.valid_mask(i) for i in rows]))[:, None].float() / 255
            with torch.no_grad():
                visible = face_visibility(parser, crops) * valid
                code = model.encode(crops, landmarks[rows], visible)
                coverage = model(code)[1]
            codes.append(code)
            shown.append((functional.avg_pool2d(visible, 2)[:, 0] * 255).to(torch.uint8))
            bare.append(((visible * coverage).sum((1, 2, 3)) / coverage.sum((1, 2, 3))).numpy())
            sharpness.append(_detail_each(crops, coverage * visible).numpy())
        self.codes, self.shown = torch.cat(codes), torch.cat(shown)
        share, detail = np.concatenate(bare), np.concatenate(sharpness)
        self.bare = share >= np.quantile(share, 0.4)
        self.sharp = detail >= np.quantile(detail, 0.35)


def _detail_each(images: torch.Tensor, cover: torch.Tensor) -> torch.Tensor:
    fine = images - functional.avg_pool2d(images, 3, 1, 1)
    return (fine.square() * cover).sum((1, 2, 3)) / (cover.sum((1, 2, 3)) + 1)


def _detail(images: torch.Tensor, cover: torch.Tensor) -> float:
    return float(_detail_each(images, cover).mean().sqrt())


def _even_weights(pack: Pack) -> torch.Tensor:
    """Return sampling weights that make sources, age bands and groups more equal."""
    band = np.where(np.isfinite(pack.age), np.digitize(np.nan_to_num(pack.age), (12, 30, 50, 65)), 9)
    cells = np.stack([pack.source // 3, band, pack.group], 1)
    _, cell, counts = np.unique(cells, axis=0, return_inverse=True, return_counts=True)
    return torch.from_numpy(1 / np.sqrt(counts[cell.reshape(-1)])).float()
