"""Residual networks of face recognisers (IR, IR-SE), and the public StyleID release's networks based on them.

`StyleEncoder` is pSp's GradualStyleEncoder (Richardson et al. 2021) and e4e's Encoder4Editing (Tov et al. 2021), which
have the same tensors and differ in how they combine the rows of W+. `FaceEmbedder` is CurricularFace's IR-101 (Huang
et al. 2020). Tensors have upstream's names.

Convention
----------
Images are float (n, channels, side, side), RGB in [-1, 1]; label maps are one-hot (n, 19, side, side).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from styleid.errors import TrainingError
from styleid.lab.networks.stylegan2 import EqualLinear

Stages = tuple[tuple[int, int], ...]
"""Channels and number of blocks of each of the four stages."""

IR_50: Stages = ((64, 3), (128, 4), (256, 14), (512, 3))
IR_101: Stages = ((64, 3), (128, 13), (256, 30), (512, 3))
_SQUEEZE = 16


@dataclass(frozen=True)
class EncoderConfig:
    """Shape of a style encoder.

    Attributes:
        channels: Channels of the input, 3 for images, 19 for label maps.
        side: Side of the input in pixels, a power of two of at least 32.
        rows: Rows of W+.
        width: Width of W+.
        stages: Stages of the trunk; the last has `width` channels.
        coarse: Rows of W+ below this number are computed from the deepest features.
        middle: Rows from `coarse` to below this number are computed from the middle features.

    Raises:
        ValueError: If a value is out of range.
    """

    channels: int = 3
    side: int = 256
    rows: int = 18
    width: int = 512
    stages: Stages = IR_50
    coarse: int = 3
    middle: int = 7

    def __post_init__(self) -> None:
        if self.side < 32 or self.side & (self.side - 1):
            raise ValueError(f"side must be a power of two of at least 32, not {self.side}.")
        if len(self.stages) != 4 or self.stages[-1][0] != self.width:
            raise ValueError(f"stages must be four, the last with width = {self.width} channels, not {self.stages}.")

    @classmethod
    def of_state(cls, state: Mapping[str, torch.Tensor]) -> EncoderConfig:
        """Infer the shape from a state dict; raises TrainingError if it is no style encoder's."""
        try:
            rows = 1 + max(int(name.split(".")[1]) for name in state if name.startswith("styles."))
            convs = sum(name.startswith("styles.0.convs.") and name.endswith(".weight") for name in state)
            channels, width = state["input_layer.0.weight"].shape[1], state["styles.0.linear.weight"].shape[0]
            return cls(channels, 16 << convs, rows, width, stages_of(state))
        except (KeyError, IndexError, ValueError) as error:
            raise TrainingError(f"These tensors are not those of a style encoder ({error}).") from error


@dataclass(frozen=True)
class EmbedderConfig:
    """Shape of a face embedder.

    Attributes:
        side: Side of the input in pixels.
        embedding: Length of the embedding.
        stages: Stages of the trunk.
    """

    side: int = 112
    embedding: int = 512
    stages: Stages = IR_101

    @classmethod
    def of_state(cls, state: Mapping[str, torch.Tensor]) -> EmbedderConfig:
        """Infer the shape from a state dict; raises TrainingError if it is no face embedder's."""
        try:
            stages = stages_of(state)
            after, before = state["output_layer.3.weight"].shape
            return cls(16 * math.isqrt(before // stages[-1][0]), after, stages)
        except (KeyError, IndexError, ValueError) as error:
            raise TrainingError(f"These tensors are not those of a face embedder ({error}).") from error


def stages_of(state: Mapping[str, torch.Tensor]) -> Stages:
    """Infer the trunk's stages from a state dict.

    Each stage but the first begins with a block that has a shortcut convolution, because the number of channels
    changes. Two stages of the same width therefore count as one.

    Raises:
        KeyError: If a tensor is missing.
        ValueError: If there is no trunk.
    """
    blocks = 1 + max(int(name.split(".")[1]) for name in state if name.startswith("body."))
    widths = [state[f"body.{block}.res_layer.1.weight"].shape[0] for block in range(blocks)]
    starts = [b for b in range(blocks) if b == 0 or f"body.{b}.shortcut_layer.0.weight" in state]
    ends = [*starts[1:], blocks]
    return tuple((widths[start], end - start) for start, end in zip(starts, ends, strict=True))


class _Squeeze(nn.Module):
    """Squeeze-and-excitation: scales channels by a function of their means."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = max(1, channels // _SQUEEZE)
        self.fc1 = nn.Conv2d(channels, inner, 1, bias=False)
        self.fc2 = nn.Conv2d(inner, channels, 1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mean = x.mean((2, 3), keepdim=True)
        return x * torch.sigmoid(self.fc2(functional.relu(self.fc1(mean))))


class _Block(nn.Module):
    def __init__(self, before: int, after: int, stride: int, squeeze: bool) -> None:
        super().__init__()
        if before == after:
            self.shortcut_layer = nn.MaxPool2d(1, stride)
        else:
            self.shortcut_layer = nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after))
        layers = [
            nn.BatchNorm2d(before),
            nn.Conv2d(before, after, 3, 1, 1, bias=False),
            nn.PReLU(after),
            nn.Conv2d(after, after, 3, stride, 1, bias=False),
            nn.BatchNorm2d(after),
        ]
        self.res_layer = nn.Sequential(*layers, *([_Squeeze(after)] if squeeze else []))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.res_layer(x) + self.shortcut_layer(x)


def _trunk(channels: int, stages: Stages, squeeze: bool) -> tuple[nn.Sequential, nn.Sequential]:
    """Return the input layer and the body, whose stages halve the side in their first block."""
    width = stages[0][0]
    first = nn.Sequential(nn.Conv2d(channels, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.PReLU(width))
    blocks = []
    for after, count in stages:
        for number in range(count):
            blocks.append(_Block(width, after, 2 if number == 0 else 1, squeeze))
            width = after
    return first, nn.Sequential(*blocks)


class _StyleBlock(nn.Module):
    """Reduces a feature map to one pixel, which becomes a row of W+."""

    def __init__(self, width: int, halvings: int) -> None:
        super().__init__()
        layers = [layer for _ in range(halvings) for layer in (nn.Conv2d(width, width, 3, 2, 1), nn.LeakyReLU())]
        self.convs = nn.Sequential(*layers)
        self.linear = EqualLinear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(self.convs(x).flatten(1))


class StyleEncoder(nn.Module):
    """Encodes images or label maps (n, channels, side, side) as W+ (n, rows, width).

    Buffers: latent_avg, (width,) or (rows, width), the mean w, which is added to W+; upstream stores it separately.

    Args:
        config: Shape of the encoder; None uses the default.
        deltas: The first row is added to the other rows, as in e4e; else the rows are independent, as in pSp.
    """

    latent_avg: torch.Tensor

    def __init__(self, config: EncoderConfig | None = None, *, deltas: bool = True) -> None:
        super().__init__()
        self.config, self.deltas = config or EncoderConfig(), deltas
        stages, width, rows = self.config.stages, self.config.width, self.config.rows
        self.input_layer, self.body = _trunk(self.config.channels, stages, squeeze=True)
        deepest = int(math.log2(self.config.side // 16))
        depth = [deepest + (row >= self.config.coarse) + (row >= self.config.middle) for row in range(rows)]
        self.styles = nn.ModuleList(_StyleBlock(width, halvings) for halvings in depth)
        self.latlayer1 = nn.Conv2d(stages[2][0], width, 1)
        self.latlayer2 = nn.Conv2d(stages[1][0], width, 1)
        self.register_buffer("latent_avg", torch.zeros(width), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return W+ (n, rows, width) with latent_avg added."""
        coarse, middle, fine = self._features(x)
        rows = []
        for number, style in enumerate(self.styles):
            deep = number < self.config.coarse
            rows.append(style(coarse if deep else middle if number < self.config.middle else fine))
        w = torch.stack(rows, 1)
        if self.deltas:
            w = torch.cat([w[:, :1], w[:, :1] + w[:, 1:]], 1)
        return w + self.latent_avg

    def _features(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return a feature pyramid at 1/16, 1/8 and 1/4 of the side, each with `width` channels."""
        x, taps, ends = self.input_layer(x), [], []
        for _, count in self.config.stages:
            ends.append((ends[-1] if ends else -1) + count)
        for number, block in enumerate(self.body):
            x = block(x)
            if number in ends[1:]:
                taps.append(x)
        quarter, eighth, sixteenth = taps
        middle = _enlarged(sixteenth, eighth) + self.latlayer1(eighth)
        return sixteenth, middle, _enlarged(middle, quarter) + self.latlayer2(quarter)


def _enlarged(x: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    return functional.interpolate(x, size=like.shape[2:], mode="bilinear", align_corners=True)


class FaceEmbedder(nn.Module):
    """Embeds aligned faces (n, 3, side, side) as unit vectors (n, embedding)."""

    def __init__(self, config: EmbedderConfig | None = None) -> None:
        super().__init__()
        self.config = config or EmbedderConfig()
        self.input_layer, self.body = _trunk(3, self.config.stages, squeeze=False)
        width, side = self.config.stages[-1][0], self.config.side // 16
        self.output_layer = nn.Sequential(
            nn.BatchNorm2d(width),
            nn.Dropout(0.4),
            nn.Flatten(),
            nn.Linear(width * side * side, self.config.embedding),
            nn.BatchNorm1d(self.config.embedding, affine=False),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return unit embeddings (n, embedding)."""
        return functional.normalize(self.output_layer(self.body(self.input_layer(x))))
