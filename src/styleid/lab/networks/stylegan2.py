"""StyleGAN2's generator (Karras et al. 2020), with the tensor names of rosinality/stylegan2-pytorch.

z -> `mapping` -> w -> `broadcast` -> W+ -> `styles` -> S -> `synthesis` -> image. Modulated convolutions use the folded
form: the style scales the input channels, one kernel serves the whole batch, and the output channels are demodulated
afterwards. `ModulatedConv2d.plain` is the paper's form with one kernel per sample, as a reference.

Convention
----------
Images are float (n, 3, resolution, resolution), RGB, about [-1, 1]. W+ is (n, layers, width) with
layers = 2 log2(resolution) - 2. S is a list of (n, channels): conv1, to_rgb1, then conv, conv, to_rgb per resolution
from 8 px on. The rows of W+ feed the styled convolutions in order; a to_rgb uses the row of the convolution after it.
Mapping, styles and demodulation are always computed in float32; convolutions follow autocast.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from styleid.errors import TrainingError

MINI_CHANNELS = {4: 256, 8: 256, 16: 192, 32: 128, 64: 64, 128: 32}
"""Channels by side of a small generator, the default of `styleid train generator`."""

_SLOPE = 0.2


def upstream_channels(multiplier: int = 2) -> dict[int, int]:
    """Return rosinality's channels by side, 4 to 1024 px; multiplier 2 is config-f."""
    return {4: 512, 8: 512, 16: 512, 32: 512} | {64 << i: (256 >> i) * multiplier for i in range(5)}


@dataclass(frozen=True)
class GeneratorConfig:
    """Shape of a generator.

    Attributes:
        resolution: Side of the image, a power of two of at least 8.
        width: Length of z and w.
        mapping_layers: Number of fully connected layers from z to w.
        channels: Feature channels by side, from 4 to `resolution`; larger sides are ignored.

    Raises:
        ValueError: If a value is out of range or a side has no channels.
    """

    resolution: int = 1024
    width: int = 512
    mapping_layers: int = 8
    channels: Mapping[int, int] = field(default_factory=upstream_channels)

    def __post_init__(self) -> None:
        if self.resolution < 8 or self.resolution & (self.resolution - 1):
            raise ValueError(f"resolution must be a power of two of at least 8, not {self.resolution}.")
        if self.width < 1 or self.mapping_layers < 1:
            raise ValueError("width and mapping_layers must be at least 1.")
        if missing := [side for side in self.sides if self.channels.get(side, 0) < 1]:
            raise ValueError(f"channels must have an entry for {missing} px, not only {dict(self.channels)}.")

    @classmethod
    def mini(
        cls, resolution: int = 128, width: int = 256, mapping_layers: int = 8, most_channels: int = 256
    ) -> GeneratorConfig:
        """Return the shape of a small generator, with the channels of `MINI_CHANNELS`.

        Args:
            resolution: Side of the image, a power of two from 8 to 128.
            width: Length of z and w.
            mapping_layers: Number of fully connected layers from z to w.
            most_channels: Upper limit of the channels.
        """
        channels = {side: min(count, most_channels) for side, count in MINI_CHANNELS.items() if side <= resolution}
        return cls(resolution, width, mapping_layers, channels)

    @classmethod
    def of_state(cls, state: Mapping[str, torch.Tensor]) -> GeneratorConfig:
        """Infer the shape from a state dict, ours or upstream's; raises TrainingError if it is no generator's."""
        try:
            first = state["conv1.conv.weight"].shape[1]
            mapping_layers = sum(name.startswith("style.") and name.endswith(".weight") for name in state)
            channels, side = {4: first}, 4
            while (name := f"to_rgbs.{side.bit_length() - 3}.conv.weight") in state:
                side *= 2
                channels[side] = state[name].shape[2]
            return cls(side, state["style.1.weight"].shape[1], mapping_layers, channels)
        except (KeyError, IndexError, ValueError) as error:
            raise TrainingError(f"These tensors are not those of a StyleGAN2 generator ({error}).") from error

    @property
    def sides(self) -> list[int]:
        """The sides of the feature maps, 4, 8, ... resolution."""
        return [4 << i for i in range(self.resolution.bit_length() - 2)]

    @property
    def layers(self) -> int:
        """The number of rows of W+."""
        return 2 * len(self.sides)

    @property
    def style_channels(self) -> list[int]:
        """The length of each style vector, in the order of S."""
        c = self.channels
        first = [c[4], c[4]]
        pairs = zip(self.sides, self.sides[1:], strict=False)
        return first + [length for before, side in pairs for length in (c[before], c[side], c[side])]


def single(x: torch.Tensor) -> AbstractContextManager[object]:
    """Return a context without autocast, on the tensor's device."""
    kind = x.device.type
    return torch.autocast(kind, enabled=False) if torch.is_autocast_enabled(kind) else nullcontext()


def activate(x: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """Add a bias per channel (axis 1) and apply a leaky ReLU with StyleGAN2's gain, which keeps the variance."""
    bias = bias.to(x.dtype).view(1, -1, *[1] * (x.ndim - 2))
    return functional.leaky_relu(x + bias, _SLOPE) * math.sqrt(2)


def blur_kernel(gain: float = 1.0) -> torch.Tensor:
    """Return the (4, 4) binomial kernel with sum `gain`."""
    row = torch.tensor([1.0, 3.0, 3.0, 1.0])
    return row[:, None] * row * (gain / 64)


_How = tuple[int, int, bool]


def _filter(x: torch.Tensor, kernel: torch.Tensor, how: _How) -> torch.Tensor:
    """Filter each channel with a symmetric (4, 4) kernel; how: stride, padding, transposed."""
    stride, padding, transposed = how
    channels = x.shape[1]
    kernels = kernel.to(x.dtype).expand(channels, 1, 4, 4)
    if transposed and stride > 1:
        return functional.conv_transpose2d(x, kernels, stride=stride, padding=padding, groups=channels)
    padding = 3 - padding if transposed else padding
    return functional.conv2d(x, kernels, stride=stride, padding=padding, groups=channels)


class _Filter(torch.autograd.Function):
    """A filter whose derivatives are filters too, because PyTorch's second derivative is slow for many groups."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, kernel: torch.Tensor, how: _How) -> torch.Tensor:
        ctx.save_for_backward(kernel)
        ctx.how = how
        return _filter(x, kernel, how)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        stride, padding, transposed = ctx.how
        gradient = _Filter.apply(grad_outputs[0], ctx.saved_tensors[0], (stride, padding, not transposed))
        return gradient, None, None


class Blur(nn.Module):
    """Filters each channel with a binomial kernel; gain 4 compensates the zeros that upsampling inserts."""

    kernel: torch.Tensor

    def __init__(self, padding: int, gain: float = 1.0, stride: int = 1) -> None:
        super().__init__()
        self.padding, self.stride = padding, stride
        self.register_buffer("kernel", blur_kernel(gain))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Filter (n, c, h, w) to sides of h + 2 padding - 3 over stride."""
        apply = _Filter.apply if x.requires_grad else _filter
        return apply(x, self.kernel, (self.stride, self.padding, False))


class Upsample(nn.Module):
    """Doubles the side of an image with a low-pass filter, in float32."""

    kernel: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("kernel", blur_kernel(4.0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Enlarge (n, c, h, w) to (n, c, 2 h, 2 w)."""
        apply = _Filter.apply if x.requires_grad else _filter
        with single(x):
            return apply(x, self.kernel, (2, 1, True))


class _PixelNorm(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * torch.rsqrt(x.square().mean(1, keepdim=True) + 1e-8)


class EqualLinear(nn.Module):
    """A linear layer with equalised learning rate, computed in the precision of its weights."""

    def __init__(
        self, before: int, after: int, *, bias_init: float = 0.0, lr_mul: float = 1.0, activated: bool = False
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(after, before) / lr_mul)
        self.bias = nn.Parameter(torch.full((after,), bias_init))
        self.scale, self.lr_mul, self.activated = lr_mul / math.sqrt(before), lr_mul, activated

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (n, before) to (n, after)."""
        with single(x):
            weight, bias = self.weight * self.scale, self.bias * self.lr_mul
            if self.activated:
                return activate(functional.linear(x.to(weight.dtype), weight), bias)
            return functional.linear(x.to(weight.dtype), weight, bias)


class ModulatedConv2d(nn.Module):
    """A convolution whose input channels are scaled by a style per sample; demodulation restores unit variance."""

    def __init__(
        self, before: int, after: int, kernel: int, width: int, *, demodulate: bool = True, upsample: bool = False
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(1, after, before, kernel, kernel))
        self.modulation = EqualLinear(width, before, bias_init=1.0)
        self.blur = Blur(1, gain=4.0) if upsample else None
        self.demodulate, self.padding = demodulate, kernel // 2
        self.scale = 1 / math.sqrt(before * kernel * kernel)

    def forward(self, x: torch.Tensor, style: torch.Tensor) -> torch.Tensor:
        """Convolve (n, before, h, w) with styles (n, before), in the folded form."""
        weight = self.weight[0] * self.scale
        x = x * style.to(x.dtype)[:, :, None, None]
        if self.blur is not None:
            x = self.blur(functional.conv_transpose2d(x, weight.transpose(0, 1), stride=2))
        else:
            x = functional.conv2d(x, weight, padding=self.padding)
        if self.demodulate:
            with single(x):
                energy = style.square() @ weight.square().sum((2, 3)).T  # (n, after)
            x = x * torch.rsqrt(energy + 1e-8).to(x.dtype)[:, :, None, None]
        return x

    def plain(self, x: torch.Tensor, style: torch.Tensor) -> torch.Tensor:
        """Compute the same as `forward` with one kernel per sample, as a reference."""
        n, before, height, width = x.shape
        weight = self.weight * self.scale * style[:, None, :, None, None]  # (n, after, before, k, k)
        if self.demodulate:
            weight = weight * torch.rsqrt(weight.square().sum((2, 3, 4), keepdim=True) + 1e-8)
        x = x.reshape(1, n * before, height, width)
        if self.blur is not None:
            kernels = weight.transpose(1, 2).flatten(0, 1)
            x = functional.conv_transpose2d(x, kernels, stride=2, groups=n)
            return self.blur(x.reshape(n, -1, *x.shape[2:]))
        x = functional.conv2d(x, weight.flatten(0, 1), padding=self.padding, groups=n)
        return x.reshape(n, -1, *x.shape[2:])


class _Bias(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return activate(x, self.bias)


class _Noise(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, x: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        return x + (self.weight * noise).to(x.dtype)


class _StyledConv(nn.Module):
    def __init__(self, before: int, after: int, width: int, upsample: bool = False) -> None:
        super().__init__()
        self.conv = ModulatedConv2d(before, after, 3, width, upsample=upsample)
        self.noise = _Noise()
        self.activate = _Bias(after)

    def forward(self, x: torch.Tensor, style: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        return self.activate(self.noise(self.conv(x, style), noise))


class _ToRGB(nn.Module):
    def __init__(self, before: int, width: int, upsample: bool = True) -> None:
        super().__init__()
        self.upsample = Upsample() if upsample else None
        self.conv = ModulatedConv2d(before, 3, 1, width, demodulate=False)
        self.bias = nn.Parameter(torch.zeros(1, 3, 1, 1))

    def forward(self, x: torch.Tensor, style: torch.Tensor, image: torch.Tensor | None = None) -> torch.Tensor:
        added = self.conv(x, style).float() + self.bias
        return added if image is None or self.upsample is None else self.upsample(image) + added


class _Input(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.input = nn.Parameter(torch.randn(1, channels, 4, 4))


class Generator(nn.Module):
    """Generates faces from z, w, W+ or S. `forward` takes W+."""

    def __init__(self, config: GeneratorConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or GeneratorConfig()
        width, c = config.width, config.channels
        mapping = [EqualLinear(width, width, lr_mul=0.01, activated=True) for _ in range(config.mapping_layers)]
        self.style = nn.Sequential(_PixelNorm(), *mapping)
        self.input = _Input(c[4])
        self.conv1 = _StyledConv(c[4], c[4], width)
        self.to_rgb1 = _ToRGB(c[4], width, upsample=False)
        self.convs, self.to_rgbs, self.noises = nn.ModuleList(), nn.ModuleList(), nn.Module()
        for before, side in zip(config.sides, config.sides[1:], strict=False):
            self.convs.append(_StyledConv(c[before], c[side], width, upsample=True))
            self.convs.append(_StyledConv(c[side], c[side], width))
            self.to_rgbs.append(_ToRGB(c[side], width))
        for number, side in enumerate([4, *[side for side in config.sides[1:] for _ in range(2)]]):
            self.noises.register_buffer(f"noise_{number}", torch.randn(1, 1, side, side))

    def mapping(self, z: torch.Tensor) -> torch.Tensor:
        """Map z, (n, width), to w, (n, width)."""
        return self.style(z)

    def broadcast(self, w: torch.Tensor) -> torch.Tensor:
        """Return W+ (n, layers, width) with w (n, width) in each row."""
        return w[:, None].expand(-1, self.config.layers, -1)

    def styles(self, w_plus: torch.Tensor) -> list[torch.Tensor]:
        """Return S of W+: one style (n, channels) per modulated convolution."""
        rows = [0, 1, *[row for start in range(1, self.config.layers - 1, 2) for row in (start, start + 1, start + 2)]]
        affines = [layer.get_submodule("conv.modulation") for layer in self._styled_layers()]
        return [affine(w_plus[:, row]) for affine, row in zip(affines, rows, strict=True)]

    def synthesis(self, styles: Sequence[torch.Tensor], noises: Sequence[torch.Tensor] | None = None) -> torch.Tensor:
        """Draw the images of S, float32 (n, 3, resolution, resolution).

        Args:
            styles: One (n, channels) per modulated convolution.
            noises: One (n or 1, 1, side, side) per styled convolution; None uses the stored ones.
        """
        noise = iter(noises if noises is not None else self.stored_noises())
        style = iter(styles)
        first = next(style)
        x = self.conv1(self.input.input.expand(first.shape[0], -1, -1, -1), first, next(noise))
        image = self.to_rgb1(x, next(style))
        for number, to_rgb in enumerate(self.to_rgbs):
            x = self.convs[2 * number](x, next(style), next(noise))
            x = self.convs[2 * number + 1](x, next(style), next(noise))
            image = to_rgb(x, next(style), image)
        return image

    def forward(self, w_plus: torch.Tensor, noises: Sequence[torch.Tensor] | None = None) -> torch.Tensor:
        """Draw the images of W+, float32 (n, 3, resolution, resolution); noises as in `synthesis`."""
        return self.synthesis(self.styles(w_plus), noises)

    def stored_noises(self) -> list[torch.Tensor]:
        """Return the noise maps that the network stores, one (1, 1, side, side) per styled convolution."""
        return list(self.noises.buffers())

    def random_noises(self, n: int, generator: torch.Generator) -> list[torch.Tensor]:
        """Draw new noise maps, (n, 1, side, side) each, on the generator's device."""
        shapes = [(n, *noise.shape[1:]) for noise in self.stored_noises()]
        return [torch.randn(shape, generator=generator, device=generator.device) for shape in shapes]

    def mean_w(self, draws: int = 4096, seed: int = 0) -> torch.Tensor:
        """Return the mean of w, (width,), over `draws` random z, which are drawn on the CPU."""
        z = torch.randn(draws, self.config.width, generator=torch.Generator().manual_seed(seed))
        with torch.no_grad():
            return self.mapping(z.to(self.input.input.device)).mean(0)

    def _styled_layers(self) -> list[nn.Module]:
        layers: list[nn.Module] = [self.conv1, self.to_rgb1]
        for number, to_rgb in enumerate(self.to_rgbs):
            layers += [self.convs[2 * number], self.convs[2 * number + 1], to_rgb]
        return layers
