"""Training of the context generator: `styleid train context-generator`.

The generator fills the face's region of a photo from its surroundings, and a discriminator scores the composite. The
first half of each batch asks for the original face, which teaches drawing; the second half asks for another person with
another face shape, which teaches swapping. The appearance encoder is trained with the generator. The result is a moving
average of generator and encoder.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional

from styleid.errors import TrainingError
from styleid.lab.data.context_pack import ContextPack
from styleid.lab.networks import context_discriminator, context_generator
from styleid.lab.networks.appearance_encoder import AppearanceEncoder
from styleid.lab.networks.context_discriminator import ContextDiscriminator, ContextDiscriminatorConfig
from styleid.lab.networks.context_generator import ContextGenerator, ContextGeneratorConfig
from styleid.lab.tasks import context_losses
from styleid.lab.tasks.context_batches import Batch, ContextFaces
from styleid.lab.tasks.context_losses import Judges
from styleid.lab.tasks.context_options import ContextOptions, Weights
from styleid.lab.tasks.context_views import BatchOptions, augment_discriminator_maps, discriminator_maps, light_cells
from styleid.lab.tasks.loop import Keeping, read_state
from styleid.lab.tasks.optim import autocast, channels_last, update_average

CHANNELS = (24, 48, 96, 160, 256)
"""Channels of generator and discriminator at 128, 64, 32, 16 and 8 px."""
_CHECKPOINT_BYTES = 32_000_000
_WHOLE_BYTES = 400_000_000
_CLIP = 5.0
_WARM_UP = 50
_WITHOUT_CODE = 0.3
"""Share of faces that are drawn without appearance code, so that the generator can also draw from identity alone."""
_HELD_OUT = 64
_HELD_OUT_TARGETS = 512
"""Number of targets for held-out faces."""
_SHEET_FACES = 12


class ContextTask:
    """Trains a `ContextGenerator`; implements `styleid.lab.tasks.loop.Task`.

    The results are `networks["average"]` and `networks["average_appearance"]`.
    """

    def __init__(
        self,
        pack: ContextPack,
        judges: Judges,
        options: ContextOptions,
        weights: Weights | None = None,
        *,
        channels: tuple[int, int, int, int, int] | None = None,
    ) -> None:
        """Set up a training.

        Args:
            pack: Training and held-out faces.
            judges: Frozen networks for the losses.
            options: Options of the training.
            weights: Weights of the loss terms; None uses the defaults.
            channels: Channels of generator and discriminator at 128, 64, 32, 16 and 8 px; None uses `CHANNELS`.

        Raises:
            TrainingError: If the pack has no held-out face or target, its crops are too small, it lacks embeddings of
                the second recogniser, or `options.start_from` cannot be used.
        """
        torch.manual_seed(0)
        self.options, self.weights, self._judges = options, weights or Weights(), judges
        self.device, self.images_per_step = options.torch_device, options.batch
        _prepare(self.device)
        channels = channels or CHANNELS
        config = ContextGeneratorConfig(options.resolution, channels)
        self._template = pack.template
        train, test = np.nonzero(~pack.held_out)[0], np.nonzero(pack.held_out)[0]
        if len(test) == 0:
            raise TrainingError("The pack holds no held-out face. Make a larger pack.")
        if judges.second is not None and pack.second.shape[1] == 0:
            raise TrainingError(
                "The pack holds no embeddings of a second recogniser. Make it with `teachers`, or train without "
                "`teachers`."
            )
        common: dict[str, Any] = {"side": options.resolution, "device": self.device}
        varied = BatchOptions((2, options.light_cells))
        self.faces = ContextFaces(pack, train, judges.shapes, options=varied, **common)
        few = _evenly_spaced(test, _HELD_OUT)
        self._held_out = ContextFaces(pack, few, judges.shapes, most_targets=_HELD_OUT_TARGETS, **common)
        self._generator = channels_last(ContextGenerator(config), self.device)
        self._appearance = channels_last(AppearanceEncoder(config.appearance), self.device)
        self._discriminator = channels_last(
            ContextDiscriminator(ContextDiscriminatorConfig(options.resolution, channels)), self.device
        )
        self._average = channels_last(ContextGenerator(config), self.device).requires_grad_(False)
        self._average_appearance = channels_last(AppearanceEncoder(config.appearance), self.device)
        self._average_appearance.requires_grad_(False)
        self._has_start = options.start_from is not None
        if options.start_from is not None:
            self._start_from(options.start_from)
        self._average.load_state_dict(self._generator.state_dict())
        self._average_appearance.load_state_dict(self._appearance.state_dict())
        self._state = _State()
        self.networks: dict[str, nn.Module] = {
            "generator": self._generator,
            "appearance": self._appearance,
            "discriminator": self._discriminator,
            "average": self._average,
            "average_appearance": self._average_appearance,
            "state": self._state,
        }
        kept = ("discriminator", "average", "average_appearance", "state")
        copies = {"generator": "average", "appearance": "average_appearance"}
        most = _WHOLE_BYTES if options.whole else _CHECKPOINT_BYTES
        self.keeping = Keeping(most, copies | {name: name for name in kept})
        drawing = [*self._generator.parameters(), *self._appearance.parameters()]
        self._rates = {"generator": options.rate, "discriminator": options.rate / 2}
        self.optimizers: dict[str, torch.optim.Optimizer] = {
            "generator": torch.optim.Adam(drawing, options.rate, (0.0, 0.99), fused=True),
            "discriminator": torch.optim.Adam(
                self._discriminator.parameters(), options.rate / 2, (0.0, 0.99), fused=True
            ),
        }
        self._draw = torch.compile(self._generator) if options.compiled else self._generator
        self._judge = torch.compile(self._discriminator) if options.compiled else self._discriminator
        self._seen: dict[str, torch.Tensor] = {}

    # ------------------------------------------------------------------ steps

    def step(self, generator: torch.Generator, progress: float) -> Mapping[str, torch.Tensor]:
        """Train the discriminator, then the generator, on one batch; see `Task.step`."""
        del progress  # the learning rate is constant, because the moving average replaces a schedule
        step = self._begin_step()
        batch = self.faces.batch(self.images_per_step, generator)
        drawn = self._drawn(batch, generator)
        composed = batch.composed(drawn)
        self._train_discriminator(batch, composed.detach(), step, generator)
        self._train_generator(batch, drawn, composed, step, generator)
        # with random initial weights, a fixed decay would average over untrained weights at first
        most = self.options.average
        decay = most if self._has_start else min(most, step / (step + 10))
        update_average(self._average, self._generator, decay)
        update_average(self._average_appearance, self._appearance, decay)
        return self._seen

    def _begin_step(self) -> int:
        """Count the step and set the learning rates, which warm up if Adam starts without its moments."""
        step = int(self._state.steps)
        if not self.optimizers["generator"].state:
            self._state.warm_from.fill_(step)
        warmth = min(1.0, (step - int(self._state.warm_from) + 1) / _WARM_UP)
        for name, optimizer in self.optimizers.items():
            for group in optimizer.param_groups:
                group["lr"] = self._rates[name] * warmth
        self._state.steps.add_(1)
        return step

    def _drawn(self, batch: Batch, generator: torch.Generator) -> torch.Tensor:
        """Draw a batch's faces, some without an appearance code."""
        has_code = (torch.rand(len(batch.image), 1, generator=generator) >= _WITHOUT_CODE).to(self.device)
        with autocast(self.device):
            code = self._appearance(batch.appearance) * has_code
            w_plus = self._generator.broadcast(self._generator.mapping(batch.identity, code))
            return self._draw(*_maps(batch), w_plus).float()

    def _train_discriminator(self, batch: Batch, composed: torch.Tensor, step: int, generator: torch.Generator) -> None:
        self._discriminator.requires_grad_(True)
        real = augment_discriminator_maps(discriminator_maps(batch.image, batch.own_lines, batch.region), generator)
        fake = augment_discriminator_maps(discriminator_maps(composed, batch.lines, batch.region), generator)
        with autocast(self.device):
            on_real, on_fake = self._judge(real), self._judge(fake)
        loss = _mistaken([-scores for scores in on_real]) + _mistaken(on_fake)
        if self.options.r1 and step % self.weights.r1_every == 0:
            penalty = self._slope(real)
            self._note({"r1": penalty})
            loss = loss + penalty * (self.options.r1 / 2 * self.weights.r1_every)
        self._descend("discriminator", loss)
        self._note({"on_real": on_real[0].mean(), "on_fake": on_fake[0].mean()})

    def _slope(self, real: torch.Tensor) -> torch.Tensor:
        """Return the squared gradient of the scores at photos (R1, Mescheder et al. 2018)."""
        image = real[:, :3].detach().requires_grad_(True)
        with autocast(self.device):
            scores, patches = self._discriminator(torch.cat([image, real[:, 3:]], 1))
        (slope,) = torch.autograd.grad(scores.sum() + patches.mean(1).sum(), image, create_graph=True)
        return slope.float().square().sum((1, 2, 3)).mean()

    def _train_generator(
        self, batch: Batch, drawn: torch.Tensor, composed: torch.Tensor, step: int, generator: torch.Generator
    ) -> None:
        self._discriminator.requires_grad_(False)
        judged = discriminator_maps(composed, batch.lines, batch.region)
        with autocast(self.device):
            scores = self._judge(augment_discriminator_maps(judged, generator))
        terms = {"adversarial": _mistaken([-one for one in scores])}
        terms |= self._own_terms(batch, drawn, composed, step)
        terms |= self._swapped_terms(batch, composed, step, generator)
        weighed = [self.weights.of(name) * term for name, term in terms.items()]
        self._descend("generator", torch.stack(weighed).sum())
        self._note(terms)

    def _own_terms(
        self, batch: Batch, drawn: torch.Tensor, composed: torch.Tensor, step: int
    ) -> dict[str, torch.Tensor]:
        """Return the loss terms of the first half of the batch, which asks for the original face."""
        n, weights = batch.own, self.weights
        own, photo, region = composed[:n], batch.image[:n], batch.region[:n]
        weight = region * (1 + (weights.fine - 1) * batch.fine[:n])
        terms = {"pixels": ((drawn[:n] - photo).abs() * weight).sum() / (3 * weight.sum() + 1)}
        lines = batch.own_lines[:n]
        with autocast(self.device):
            with torch.no_grad():
                wanted = self._discriminator.features(discriminator_maps(photo, lines, region))
            given = self._discriminator.features(discriminator_maps(own, lines, region))
        apart = [(a.float() - b.float()).abs().mean() for a, b in zip(given, wanted, strict=True)]
        terms["features"] = torch.stack(apart).mean()
        if step % weights.own_every == 0:
            embedded = self._judges.embed(own, batch.to_view[:n], self._template)
            terms["own_identity"] = 1 - (embedded * batch.identity[:n]).sum(1).mean()
            terms |= self._geometry_terms(own, batch.landmarks[:n], "own_")
        return terms

    def _swapped_terms(
        self, batch: Batch, composed: torch.Tensor, step: int, generator: torch.Generator
    ) -> dict[str, torch.Tensor]:
        """Return the loss terms of the second half of the batch, which asks for another person."""
        rest, weights, judges = slice(batch.own, None), self.weights, self._judges
        other, region = composed[rest], batch.region[rest]
        asked_light = light_cells(batch.light[rest], region, batch.cells)
        terms = {"light": (light_cells(other, region, batch.cells) - asked_light).abs().mean()}
        embedded = judges.embed(other, batch.to_view[rest], self._template)
        terms["identity"] = 1 - (embedded * batch.identity[rest]).sum(1).mean()
        terms["source"] = context_losses.source_loss(embedded, batch.source_identity[rest])
        terms |= self._geometry_terms(other, batch.landmarks[rest], "")
        if step % weights.looks_every == 0:
            terms |= context_losses.looks_loss(judges.describe(other), batch.looks[rest])
        if judges.second is not None and step % weights.second_every == 0:
            few = batch.own + torch.randperm(len(other), generator=generator)[: weights.second_faces].to(self.device)
            seen = judges.embed(composed[few], batch.to_view[few], self._template, second=True)
            terms["second"] = 1 - (seen * batch.second[few]).sum(1).mean()
            terms["second_source"] = context_losses.source_loss(seen, batch.source_second[few])
        return terms

    def _geometry_terms(self, images: torch.Tensor, asked: torch.Tensor, prefix: str) -> dict[str, torch.Tensor]:
        landmarks, expression = context_losses.landmark_loss(self._judges.locate(images), asked)
        return {f"{prefix}landmarks": landmarks, f"{prefix}expression": expression}

    def _note(self, terms: Mapping[str, torch.Tensor]) -> None:
        """Update the printed averages of terms, which extend over about twenty values."""
        for name, term in terms.items():
            value = term.detach()
            self._seen[name] = torch.lerp(self._seen.get(name, value), value, 0.05)

    def _descend(self, name: str, loss: torch.Tensor) -> None:
        optimizer = self.optimizers[name]
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        for group in optimizer.param_groups:
            nn.utils.clip_grad_norm_(group["params"], _CLIP)
        optimizer.step()

    # ---------------------------------------------------------------- results

    def evaluate(self) -> dict[str, float]:
        """Return figures of held-out faces, drawn as themselves (`own_*`) and as other people; see `Task.evaluate`."""
        n = len(self._held_out)
        found: dict[str, list[torch.Tensor]] = {}
        for part in torch.arange(n).split(16):
            for own in (True, False):
                for name, values in self._measured(part, own).items():
                    found.setdefault(name, []).append(values)
        return {name: float(torch.cat(values).mean()) for name, values in found.items()}

    @torch.no_grad()
    def _measured(self, index: torch.Tensor, own: bool) -> dict[str, torch.Tensor]:
        batch, composed = self._results(index, own)
        embedded = self._judges.embed(composed, batch.to_view, self._template)
        asked = (embedded * batch.identity).sum(1)
        apart = (self._judges.locate(composed) - batch.landmarks).norm(dim=-1).mean(1)
        apart = apart / context_losses.inter_ocular(batch.landmarks)
        if own:
            pixels = ((composed - batch.image).abs() * batch.region).sum((1, 2, 3)) / (3 * batch.region.sum((1, 2, 3)))
            return {"own_pixels": pixels, "own_identity": asked, "own_landmarks": apart}
        source = (embedded * batch.source_identity).sum(1)
        return {"identity": asked, "source": source, "landmarks": apart}

    @torch.no_grad()
    def _results(self, index: torch.Tensor, own: bool) -> tuple[Batch, torch.Tensor]:
        """Return a batch of held-out faces and the composites that the moving average draws."""
        draws = torch.Generator().manual_seed(1)
        batch = self._held_out.plain(index, len(index) if own else 0, draws)
        average = self._average
        with autocast(self.device):
            w = average.mapping(batch.identity, self._average_appearance(batch.appearance))
            drawn = average(*_maps(batch), average.broadcast(w)).float()
        return batch, batch.composed(drawn).clamp(-1, 1)

    def sheet(self) -> np.ndarray[Any, np.dtype[np.uint8]]:
        """Show held-out faces: the photo, the generator's inputs, the face drawn as itself and as another person."""
        index = torch.linspace(0, len(self._held_out) - 1, _SHEET_FACES).long()
        batch, own = self._results(index, True)
        swapped, other = self._results(index, False)
        inputs = swapped.context + swapped.light * swapped.region
        inputs = torch.maximum(inputs, swapped.lines.amax(1, keepdim=True) * 2 - 1)
        tiles = torch.cat([batch.image, inputs, own, other], 3)  # (n, 3, s, 4 s)
        columns = torch.cat(list(tiles), 1) if len(tiles) % 2 else _two_columns(tiles)
        return ((columns.permute(1, 2, 0).cpu().numpy() + 1) * 127.5).clip(0, 255).astype(np.uint8)

    def _start_from(self, source: Path) -> None:
        """Load generator, discriminator and, from a checkpoint's folder, the appearance encoder."""
        if source.is_dir():
            generator, discriminator = read_state(source, "average"), read_state(source, "discriminator")
            appearance = {key: value.float() for key, value in read_state(source, "average_appearance").items()}
            self._appearance.load_state_dict(appearance)
        else:
            generator, discriminator = read_weight_file(source)
        context_generator.load_weights(self._generator, generator)
        context_discriminator.load_weights(self._discriminator, discriminator)


def read_weight_file(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Read a .safetensors file of a generator's moving average (`ema.*`) and a discriminator (`d.*`).

    Returns:
        The tensors of generator and discriminator by name, without prefix.

    Raises:
        TrainingError: If the file cannot be read or lacks one of the networks.
    """
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise TrainingError(f"The weights in {path} cannot be read ({error}).") from error
    parts = [{key[len(p) :]: v for key, v in tensors.items() if key.startswith(p)} for p in ("ema.", "d.")]
    if not all(parts):
        raise TrainingError(f"{path} holds no context generator. It must hold tensors named 'ema.*' and 'd.*'.")
    return parts[0], parts[1]


def _mistaken(scores: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return the logistic loss of scores that should be low, summed over crops and patches."""
    return torch.stack([functional.softplus(one).mean() for one in scores]).sum()


def _maps(batch: Batch) -> tuple[torch.Tensor, ...]:
    return batch.context, batch.region, batch.lines, batch.glasses, batch.light


def _two_columns(tiles: torch.Tensor) -> torch.Tensor:
    left, right = tiles[::2], tiles[1::2]
    return torch.cat([torch.cat(list(left), 1), torch.cat(list(right), 1)], 2)


def _evenly_spaced(rows: np.ndarray[Any, Any], most: int) -> np.ndarray[Any, Any]:
    """Return at most `most` rows, evenly spaced, so that all archives are represented."""
    return rows[np.linspace(0, len(rows) - 1, min(most, len(rows))).round().astype(int)]


def _prepare(device: str) -> None:
    if torch.device(device).type == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
        torch.backends.cudnn.benchmark = True


class _State(nn.Module):
    """Step counters on the CPU, where reading them needs no synchronisation with the GPU."""

    steps: torch.Tensor
    warm_from: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self.register_buffer("warm_from", torch.zeros((), dtype=torch.int64))
