"""The context generator, which fills a face's region from its surroundings.

An encoder gets the crop without the face and maps that describe the face to draw. A decoder draws the face; its layers
are scaled and shifted by styles (after StyleGAN, Karras et al. 2019). Half of each layer's style is a row of W+,
(n, layers, width); the other half is the pooled encoder output, which describes the photo and is not part of W+.

Stages draw at 64, 128 and 256 px. Each stage adds detail to the enlarged image of the stage before, and a new stage is
initialised so that it adds nothing. There are no noise inputs: in training their strength fell to zero, and without
them the frames of a video are consistent.

Convention
----------
Maps are float (n, c, s, s), where s is the side of the image. context: RGB in [-1, 1], 0 where the face is cut out.
region: [0, 1]. lines: two maps in [0, 1]; the first has outline, brows and nose, the second eyes and lips. glasses:
[0, 1]. light: RGB in [-1, 1], 0 outside the region. Images are about [-1, 1].
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from styleid.errors import TrainingError

MAPS = 10
SIDES = (64, 128, 256)
EMBEDDING_SCALE = 11.3
"""Factor of unit embeddings, whose numbers then have a standard deviation of about 1."""
_MOST_SCALE = 1.5
_SLOPE = 0.2
_STAGES = {64: ("m8a", "m8b", "m16a", "m16b", "m32a", "m32b", "m32c"), 128: ("m64a", "m64b", "m128"), 256: ("m256",)}


@dataclass(frozen=True)
class ContextGeneratorConfig:
    """Shape of a context generator.

    Attributes:
        side: Side of the image, 64, 128 or 256 px.
        channels: Channels at 128, 64, 32, 16 and 8 px; the first is even.
        width: Length of w.
        identity: Length of an embedding.
        appearance: Length of an appearance code.

    Raises:
        ValueError: If a value is out of range.
    """

    side: int = 128
    channels: tuple[int, int, int, int, int] = (24, 48, 96, 160, 256)
    width: int = 256
    identity: int = 128
    appearance: int = 16

    def __post_init__(self) -> None:
        if self.side not in SIDES:
            raise ValueError(f"side must be one of {SIDES}, not {self.side}.")
        if len(self.channels) != 5 or min(self.channels) < 2 or self.channels[0] % 2:
            raise ValueError(f"channels must be five numbers of at least 2, the first even, not {self.channels}.")

    @property
    def layer_names(self) -> tuple[str, ...]:
        """Names of the modulated layers, coarse to fine."""
        return tuple(name for side in SIDES if side <= self.side for name in _STAGES[side])

    @property
    def layers(self) -> int:
        """Number of rows of W+."""
        return len(self.layer_names)


class ContextGenerator(nn.Module):
    """Draws faces into their surroundings; see the module's convention."""

    def __init__(self, config: ContextGeneratorConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or ContextGeneratorConfig()
        self.folds = True
        c128, c64, c32, c16, c8 = config.channels
        width = config.width
        self.map = nn.Sequential(
            nn.Linear(config.identity, width),
            nn.LeakyReLU(_SLOPE),
            nn.Linear(width, width),
            nn.LeakyReLU(_SLOPE),
            nn.Linear(width, width),
        )
        self.look = nn.Linear(config.appearance, width, bias=False)
        nn.init.zeros_(self.look.weight)
        # encoder
        self.stem32 = nn.Conv2d(4 * MAPS, c32, 3, padding=1)  # of 64 px, folded by two
        self.r32 = _Residual(c32)
        self.d16, self.r16 = _Conv(c32, c16, stride=2), _Residual(c16)
        self.d8, self.r8 = _Conv(c16, c8, stride=2), _Residual(c8)
        self.pool = nn.Linear(c8, width)
        # decoder
        self.m8a, self.m8b = _Modulated(c8, c8, width), _Modulated(c8, c8, width)
        self.m16a, self.m16b = _Modulated(c8, c16, width), _Modulated(c16, c16, width)
        self.k16 = nn.Conv2d(c16, c16, 1)
        self.m32a, self.m32b, self.m32c = (_Modulated(n, c32, width) for n in (c16, c32, c32))
        self.k32 = nn.Conv2d(c32, c32, 1)
        self.head64 = nn.Conv2d(c32, 12, 3, padding=1)
        if config.side >= 128:
            self.stem64 = _Conv(4 * MAPS, c64)  # of 128 px, folded by two
            self.d32 = _zeroed(nn.Conv2d(c64, c32, 3, 2, 1))
            self.m64a, self.m64b = _Modulated(c32, c64, width), _Modulated(c64, c64, width)
            self.k64 = nn.Conv2d(c64, c64, 1)
            self.out = nn.Conv2d(c64, 64, 3, padding=1)
            self.m128 = _Modulated(16, c128, width)
            self.rgb = _zeroed(nn.Conv2d(c128, 3, 3, padding=1))
        if config.side >= 256:
            self.stem128 = _Conv(4 * MAPS, c128)  # of 256 px, folded by two
            self.d64 = _zeroed(nn.Conv2d(c128, c64, 3, 2, 1))
            self.k128 = nn.Conv2d(c128, c128, 1)
            self.out256 = nn.Conv2d(c128, 4 * (c128 // 2), 3, padding=1)
            self.m256 = _Modulated(c128 // 2, c128 // 2, width)
            self.rgb256 = _zeroed(nn.Conv2d(c128 // 2, 3, 3, padding=1))

    def mapping(self, identity: torch.Tensor, appearance: torch.Tensor | None = None) -> torch.Tensor:
        """Return w (n, width) of unit embeddings (n, identity) and appearance codes (n, appearance), or None for 0."""
        return style_of(self.map, self.look, identity, appearance)

    def broadcast(self, w: torch.Tensor) -> torch.Tensor:
        """Return W+ (n, layers, width) with w (n, width) in each row."""
        return w[:, None].expand(-1, self.config.layers, -1)

    def forward(
        self,
        context: torch.Tensor,
        region: torch.Tensor,
        lines: torch.Tensor,
        glasses: torch.Tensor,
        light: torch.Tensor,
        w_plus: torch.Tensor,
    ) -> torch.Tensor:
        """Draw faces.

        Args:
            context: (n, 3, s, s), the crop without the face.
            region: (n, 1, s, s), where to draw.
            lines: (n, 2, s, s), the lines of the face to draw.
            glasses: (n, 1, s, s), where the face wears glasses.
            light: (n, 3, s, s), the coarse light on the face.
            w_plus: (n, layers, width).

        Returns:
            Images, (n, 3, s, s), about [-1, 1].
        """
        encoded = self.encode(self._pyramid([context, region, lines, glasses, light]))
        photo = self.pool(encoded[8].mean((2, 3)))
        styles = {name: torch.cat([w_plus[:, row], photo], 1) for row, name in enumerate(self.config.layer_names)}
        return self.decode(encoded, styles)

    def _pyramid(self, parts: list[torch.Tensor]) -> dict[int, torch.Tensor]:
        """Return the maps (n, 10, s, s) at each side from 64 px up.

        They are scaled down before they are concatenated, because the concatenated maps are quantised to 8 bits, which
        makes averaging slow.
        """
        found = {}
        for side in reversed([side for side in SIDES if side <= self.config.side]):
            found[side] = torch.cat(parts, 1)
            parts = [functional.avg_pool2d(part, 2) for part in parts] if side > 64 else parts
        return found

    def encode(self, maps: Mapping[int, torch.Tensor]) -> dict[int, torch.Tensor]:
        """Return features by side, given the maps (n, 10, s, s) at each side from 64 px up."""
        found: dict[int, torch.Tensor] = {}
        finer: torch.Tensor | None = None
        if self.config.side >= 256:
            found[128] = self.stem128(self._folded(maps[256]))  # (n, c128, 128, 128)
            finer = self.d64(found[128])
        if self.config.side >= 128:
            found[64] = self.stem64(self._folded(maps[128]), finer)  # (n, c64, 64, 64)
            finer = self.d32(found[64])
        x = self.stem32(self._folded(maps[64]))  # (n, c32, 32, 32)
        x = _leaky(x if finer is None else x + finer)
        found[32] = self.r32(x)
        found[16] = self.r16(self.d16(found[32]))
        found[8] = self.r8(self.d8(found[16]))  # (n, c8, 8, 8)
        return found

    def _folded(self, maps: torch.Tensor) -> torch.Tensor:
        """Return a stem's input: blocks of 2 x 2 pixels as channels, or the maps themselves for a strided stem."""
        return functional.pixel_unshuffle(maps, 2) if self.folds else maps

    def decode(self, encoded: Mapping[int, torch.Tensor], styles: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Return the image of encoded maps and one style (n, 2 * width) per layer."""

        def layer(name: str, x: torch.Tensor) -> torch.Tensor:
            return getattr(self, name)(x, styles[name])

        x = layer("m8b", layer("m8a", encoded[8]))
        x = layer("m16b", layer("m16a", _twice(x)) + self.k16(encoded[16]))
        x = layer("m32a", _twice(x)) + self.k32(encoded[32])
        x = layer("m32c", layer("m32b", x))
        image = functional.pixel_shuffle(self.head64(x), 2)  # (n, 3, 64, 64)
        if self.config.side >= 128:
            x = layer("m64a", _twice(x)) + self.k64(encoded[64])
            x = self.out(layer("m64b", x))
            x = layer("m128", functional.pixel_shuffle(x, 2))  # (n, c128, 128, 128)
            image = _enlarged(image) + self.rgb(x)
        if self.config.side >= 256:
            x = self.out256(x + self.k128(encoded[128]))
            x = layer("m256", functional.pixel_shuffle(x, 2))  # (n, c128 / 2, 256, 256)
            image = _enlarged(image) + self.rgb256(x)
        return image


class _Conv(nn.Module):
    """A convolution and its activation."""

    def __init__(self, before: int, after: int, stride: int = 1) -> None:
        super().__init__()
        self.c = nn.Conv2d(before, after, 3, stride, 1)

    def forward(self, x: torch.Tensor, more: torch.Tensor | None = None) -> torch.Tensor:
        x = self.c(x)
        return _leaky(x if more is None else x + more)


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.a, self.b = _Conv(width, width), nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.b(self.a(x))


class _Modulated(nn.Module):
    """A convolution whose output channels are scaled and shifted by a style, and its activation."""

    def __init__(self, before: int, after: int, width: int) -> None:
        super().__init__()
        self.c = nn.Conv2d(before, after, 3, padding=1)
        self.st = nn.Linear(2 * width, 2 * after)
        nn.init.normal_(self.st.weight, std=0.25 / math.sqrt(2 * width))
        nn.init.zeros_(self.st.bias)

    def forward(self, x: torch.Tensor, style: torch.Tensor) -> torch.Tensor:
        scale, shift = self.st(style)[:, :, None, None].chunk(2, 1)
        # bounded, because otherwise a single batch could make the image diverge
        scale = 1 + _MOST_SCALE * torch.tanh(scale / _MOST_SCALE)
        return _leaky(torch.addcmul(shift, self.c(x), scale))


def _leaky(x: torch.Tensor) -> torch.Tensor:
    return functional.leaky_relu(x, _SLOPE, inplace=True)


def _twice(x: torch.Tensor) -> torch.Tensor:
    return functional.interpolate(x, scale_factor=2.0, mode="nearest")


def _enlarged(image: torch.Tensor) -> torch.Tensor:
    return functional.interpolate(image, scale_factor=2.0, mode="bilinear", align_corners=False)


def _zeroed(layer: nn.Conv2d) -> nn.Conv2d:
    """Initialise a convolution to zero, so that a new stage adds nothing at first, and return it."""
    nn.init.zeros_(layer.weight)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer


def style_of(
    layers: nn.Sequential, look: nn.Linear, identity: torch.Tensor, appearance: torch.Tensor | None
) -> torch.Tensor:
    """Return w (n, width) of embeddings and appearance codes.

    Args:
        layers: A generator's `map`.
        look: A generator's `look`.
        identity: (n, identity), unit embeddings.
        appearance: (n, appearance), appearance codes; None means 0.
    """
    first, *rest = layers.children()
    x = first(identity * EMBEDDING_SCALE)
    if appearance is not None:
        x = x + look(appearance)
    for layer in rest:
        x = layer(x)
    return x


def with_strided_stems(generator: ContextGenerator) -> ContextGenerator:
    """Return an equivalent copy whose stems are 6 x 6 convolutions with stride 2.

    It is faster in ONNX Runtime, where folding pixels into channels takes two thirds of the convolution's time.
    """
    own = copy.deepcopy(generator)
    own.folds = False
    own.stem32 = _strided(own.stem32)
    for name in ("stem64", "stem128"):
        if hasattr(own, name):
            stem = getattr(own, name)
            stem.c = _strided(stem.c)
    return own


def _strided(conv: nn.Conv2d) -> nn.Conv2d:
    after, before = conv.weight.shape[:2]
    own = nn.Conv2d(before // 4, after, 6, stride=2, padding=2).to(conv.weight.device)
    folded = conv.weight.detach().reshape(after, before // 4, 2, 2, 3, 3)  # (y, x in the block; y, x of the kernel)
    own.weight.data = folded.permute(0, 1, 4, 2, 5, 3).reshape(after, before // 4, 6, 6).contiguous()
    assert conv.bias is not None
    assert own.bias is not None
    own.bias.data = conv.bias.detach().clone()
    return own


def config_of(tensors: Mapping[str, torch.Tensor]) -> ContextGeneratorConfig:
    """Infer a generator's shape from its tensors. Channels of missing stages are the defaults.

    Args:
        tensors: A generator's state dict.

    Raises:
        TrainingError: If the tensors are not those of a context generator.
    """
    usual = ContextGeneratorConfig()
    side = 256 if "m256.c.weight" in tensors else 128 if "m128.c.weight" in tensors else 64
    try:
        sizes = [len(tensors[f"{name}.c.weight"]) for name in ("m32a", "m16a", "m8a")]
        finer = [len(tensors[f"{name}.c.weight"]) for name in ("m128", "m64a")] if side > 64 else usual.channels[:2]
        width, identity = tensors["map.0.weight"].shape
    except (KeyError, ValueError) as error:
        raise TrainingError(f"These are not the tensors of a context generator: {error} is missing.") from error
    appearance = tensors["look.weight"].shape[1] if "look.weight" in tensors else usual.appearance
    return ContextGeneratorConfig(side, (*finer, *sizes), width, identity, appearance)  # type: ignore[arg-type]


def load_weights(generator: ContextGenerator, tensors: Mapping[str, torch.Tensor]) -> None:
    """Load the tensors of a generator of the same or another side.

    Finer stages and the layer of the appearance code stay as they are if the tensors lack them. Stages that are finer
    than this generator's, and the noise strengths of older generators, are ignored.

    Args:
        generator: The generator, changed in place.
        tensors: A generator's state dict.

    Raises:
        TrainingError: If another tensor is missing, unknown or of another shape.
    """
    own = generator.state_dict()
    given = {name: value.float() for name, value in tensors.items() if not _left_out(name, generator.config.side)}
    strange = [name for name, value in given.items() if name not in own or own[name].shape != value.shape]
    optional = (*_FINER[128], *_FINER[256], "look")
    missing = [name for name in own if name not in given and name.split(".")[0] not in optional]
    if wrong := sorted(strange + missing):
        raise TrainingError(
            f"These are not the tensors of a context generator of this size; the first that differ: "
            f"{', '.join(wrong[:5])}."
        )
    generator.load_state_dict(own | given)


_FINER = {
    128: ("stem64", "d32", "m64a", "m64b", "k64", "out", "m128", "rgb"),
    256: ("stem128", "d64", "k128", "out256", "m256", "rgb256"),
}
"""Modules that only generators of at least this side have."""


def _left_out(name: str, side: int) -> bool:
    part = name.split(".", 1)[0]
    return name.endswith(".n") or any(side < least and part in parts for least, parts in _FINER.items())
