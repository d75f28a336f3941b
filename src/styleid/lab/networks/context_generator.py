"""The context generator: it fills a face's region from what surrounds it.

An encoder looks at the crop without the face and at the maps that say what to draw; a decoder whose layers are scaled
and shifted by w draws it (StyleGAN's idea, Karras et al. 2019). Each modulated layer has its own row of w, so that W+
is (n, layers, width); the pooled encoder gives the other half of each layer's style, which belongs to the photo and not
to W+.

The same weights draw at 64, 128 and 256 px: each stage adds detail to the enlarged image of the one before, and a new
stage starts by adding nothing. There is no noise: training brought its strength to nothing, and frames of a video stay
alike without it.

Convention
----------
Maps are float (n, c, s, s), s the side that is drawn. context: RGB in [-1, 1], 0 where it is cut out. region: [0, 1].
lines: two maps in [0, 1], outline, brows and nose, then eyes and lips. glasses: [0, 1]. light: RGB in [-1, 1], 0
outside the region. Images are about [-1, 1].
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
"""What unit embeddings are multiplied by: their numbers then vary by about 1."""
_MOST_SCALE = 1.5
_SLOPE = 0.2
_STAGES = {64: ("m8a", "m8b", "m16a", "m16b", "m32a", "m32b", "m32c"), 128: ("m64a", "m64b", "m128"), 256: ("m256",)}


@dataclass(frozen=True)
class ContextGeneratorConfig:
    """Size the generator.

    side: 64, 128 or 256 px. channels: at 128 px (before the last image), 64, 32, 16 and 8 px. width: of w. identity,
    appearance: numbers of an embedding and of an appearance code.
    """

    side: int = 128
    channels: tuple[int, int, int, int, int] = (24, 48, 96, 160, 256)
    width: int = 256
    identity: int = 128
    appearance: int = 16

    def __post_init__(self) -> None:
        if self.side not in SIDES:
            raise ValueError(f"The context generator draws at {SIDES} px, not at {self.side}.")
        if len(self.channels) != 5 or min(self.channels) < 2 or self.channels[0] % 2:
            raise ValueError(f"Five numbers of channels are needed, the first even, not {self.channels}.")

    @property
    def layer_names(self) -> tuple[str, ...]:
        """Modulated layers, coarse to fine."""
        return tuple(name for side in SIDES if side <= self.side for name in _STAGES[side])

    @property
    def layers(self) -> int:
        """Rows of W+."""
        return len(self.layer_names)


class ContextGenerator(nn.Module):
    """Draw faces into their surroundings."""

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
            self.d32 = _nothing(nn.Conv2d(c64, c32, 3, 2, 1))
            self.m64a, self.m64b = _Modulated(c32, c64, width), _Modulated(c64, c64, width)
            self.k64 = nn.Conv2d(c64, c64, 1)
            self.out = nn.Conv2d(c64, 64, 3, padding=1)
            self.m128 = _Modulated(16, c128, width)
            self.rgb = _nothing(nn.Conv2d(c128, 3, 3, padding=1))
        if config.side >= 256:
            self.stem128 = _Conv(4 * MAPS, c128)  # of 256 px, folded by two
            self.d64 = _nothing(nn.Conv2d(c128, c64, 3, 2, 1))
            self.k128 = nn.Conv2d(c128, c128, 1)
            self.out256 = nn.Conv2d(c128, 4 * (c128 // 2), 3, padding=1)
            self.m256 = _Modulated(c128 // 2, c128 // 2, width)
            self.rgb256 = _nothing(nn.Conv2d(c128 // 2, 3, 3, padding=1))

    def mapping(self, identity: torch.Tensor, appearance: torch.Tensor | None = None) -> torch.Tensor:
        """Return w (n, width) of unit embeddings (n, identity) and appearance codes (n, appearance)."""
        return style_of(self.map, self.look, identity, appearance)

    def broadcast(self, w: torch.Tensor) -> torch.Tensor:
        """Return W+ (n, layers, width), each row w."""
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
        """Draw images (n, 3, side, side)."""
        encoded = self.encode(self._pyramid([context, region, lines, glasses, light]))
        photo = self.pool(encoded[8].mean((2, 3)))
        styles = {name: torch.cat([w_plus[:, row], photo], 1) for row, name in enumerate(self.config.layer_names)}
        return self.decode(encoded, styles)

    def _pyramid(self, parts: list[torch.Tensor]) -> dict[int, torch.Tensor]:
        """Return the maps (n, 10, s, s) at each side from 64 on.

        They are halved before they are joined: what is joined is rounded to 8 bits, and that is slow to average.
        """
        found = {}
        for side in reversed([side for side in SIDES if side <= self.config.side]):
            found[side] = torch.cat(parts, 1)
            parts = [functional.avg_pool2d(part, 2) for part in parts] if side > 64 else parts
        return found

    def encode(self, maps: Mapping[int, torch.Tensor]) -> dict[int, torch.Tensor]:
        """Return features by side, from the maps (n, 10, s, s) at each side from 64 on."""
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
        """Return what a stem sees of maps: blocks of 2 x 2 pixels as channels, if it does not step by two itself."""
        return functional.pixel_unshuffle(maps, 2) if self.folds else maps

    def decode(self, encoded: Mapping[int, torch.Tensor], styles: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Return the image of encoded maps and of one style (n, 2 width) a layer."""

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
    """A convolution whose channels are scaled and shifted by a style, and its activation."""

    def __init__(self, before: int, after: int, width: int) -> None:
        super().__init__()
        self.c = nn.Conv2d(before, after, 3, padding=1)
        self.st = nn.Linear(2 * width, 2 * after)
        nn.init.normal_(self.st.weight, std=0.25 / math.sqrt(2 * width))
        nn.init.zeros_(self.st.bias)

    def forward(self, x: torch.Tensor, style: torch.Tensor) -> torch.Tensor:
        scale, shift = self.st(style)[:, :, None, None].chunk(2, 1)
        # bounded, since a single batch could otherwise blow the image up
        scale = 1 + _MOST_SCALE * torch.tanh(scale / _MOST_SCALE)
        return _leaky(torch.addcmul(shift, self.c(x), scale))


def _leaky(x: torch.Tensor) -> torch.Tensor:
    return functional.leaky_relu(x, _SLOPE, inplace=True)


def _twice(x: torch.Tensor) -> torch.Tensor:
    return functional.interpolate(x, scale_factor=2.0, mode="nearest")


def _enlarged(image: torch.Tensor) -> torch.Tensor:
    return functional.interpolate(image, scale_factor=2.0, mode="bilinear", align_corners=False)


def _nothing(layer: nn.Conv2d) -> nn.Conv2d:
    """Return a convolution that starts as zero, so that a stage begins by adding nothing."""
    nn.init.zeros_(layer.weight)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer


def style_of(
    layers: nn.Sequential, look: nn.Linear, identity: torch.Tensor, appearance: torch.Tensor | None
) -> torch.Tensor:
    """Return w of unit embeddings and appearance codes, by a generator's layers `map` and `look`."""
    first, *rest = layers.children()
    x = first(identity * EMBEDDING_SCALE)
    if appearance is not None:
        x = x + look(appearance)
    for layer in rest:
        x = layer(x)
    return x


def with_strided_stems(generator: ContextGenerator) -> ContextGenerator:
    """Return a copy that computes the same, its stems as convolutions of 6 x 6 that step by two.

    Folding pixels into channels costs ONNX Runtime two thirds as much as the convolution itself.
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
    """Return the sizes of the generator that tensors are of; raises TrainingError where they are of none.

    Channels of sides that it does not draw are those of the usual generator.
    """
    usual = ContextGeneratorConfig()
    side = 256 if "m256.c.weight" in tensors else 128 if "m128.c.weight" in tensors else 64
    try:
        sizes = [len(tensors[f"{name}.c.weight"]) for name in ("m32a", "m16a", "m8a")]
        finer = [len(tensors[f"{name}.c.weight"]) for name in ("m128", "m64a")] if side > 64 else usual.channels[:2]
        width, identity = tensors["map.0.weight"].shape
    except (KeyError, ValueError) as error:
        raise TrainingError(f"These are not tensors of a context generator: {error} is not there.") from error
    appearance = tensors["look.weight"].shape[1] if "look.weight" in tensors else usual.appearance
    return ContextGeneratorConfig(side, (*finer, *sizes), width, identity, appearance)  # type: ignore[arg-type]


def load_weights(generator: ContextGenerator, tensors: Mapping[str, torch.Tensor]) -> None:
    """Load a generator's tensors, of this side or another one, and the trial's (`styleid train context-generator`).

    Parts that they lack, finer stages or the appearance code, stay as they are; parts that only a larger side has are
    left out, and so are strengths of noise. Raises TrainingError where anything else does not fit.
    """
    own = generator.state_dict()
    given = {name: value.float() for name, value in tensors.items() if not _left_out(name, generator.config.side)}
    strange = [name for name, value in given.items() if name not in own or own[name].shape != value.shape]
    optional = (*_FINER[128], *_FINER[256], "look")
    missing = [name for name in own if name not in given and name.split(".")[0] not in optional]
    if wrong := sorted(strange + missing):
        raise TrainingError(f"These are not tensors of a context generator of this size: {', '.join(wrong[:5])}.")
    generator.load_state_dict(own | given)


_FINER = {
    128: ("stem64", "d32", "m64a", "m64b", "k64", "out", "m128", "rgb"),
    256: ("stem128", "d64", "k128", "out256", "m256", "rgb256"),
}
"""Parts that only a generator of so many pixels, or more, has."""


def _left_out(name: str, side: int) -> bool:
    part = name.split(".", 1)[0]
    return name.endswith(".n") or any(side < least and part in parts for least, parts in _FINER.items())
