"""Write a trained context generator and its appearance encoder as files of a bundle."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from styleid.lab.export.network import ExportReport, export_network
from styleid.lab.networks.appearance_encoder import SIDE, AppearanceEncoder
from styleid.lab.networks.context_generator import ContextGenerator, with_strided_stems

INPUTS = ("context", "region", "lines", "glasses", "light", "w_plus")
"""Names of the generator's inputs, in the order of its arguments."""


class _Clamped(nn.Module):
    """Draw as the generator does, faster, and bound the image, as those who composite it do."""

    def __init__(self, generator: ContextGenerator) -> None:
        super().__init__()
        self.generator = with_strided_stems(generator)

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        return self.generator(*inputs).clamp(-1, 1)


class _Mapping(nn.Module):
    def __init__(self, generator: ContextGenerator) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, identity: torch.Tensor, appearance: torch.Tensor) -> torch.Tensor:
        w = self.generator.mapping(identity, appearance)
        return w[:, None].expand(-1, self.generator.config.layers, -1).clone()


def export_context_generator(
    generator: ContextGenerator,
    appearance: AppearanceEncoder,
    folder: Path,
    inputs: Mapping[str, torch.Tensor] | None = None,
    *,
    examples: Mapping[str, np.ndarray[Any, Any]] | None = None,
) -> dict[str, ExportReport]:
    """Write generator.onnx, styles.onnx and appearance.onnx, and return a report for each.

    generator: `INPUTS` -> image (n, 3, side, side) in [-1, 1]. styles: unit embedding (n, 128) and appearance code ->
    w_plus (n, layers, width), each row alike. appearance: face (n, 4, 64, 64) -> code. inputs: maps to compare the
    generator with torch on, such as a batch's; random ones where it is None. examples: more of them, to make its
    convolutions 8-bit by. Raises TrainingError where a file differs from torch.
    """
    shape = generator.config
    draw = torch.Generator().manual_seed(0)
    identity = nn.functional.normalize(torch.randn(3, shape.identity, generator=draw))
    code = torch.tanh(torch.randn(3, shape.appearance, generator=draw))
    given = dict(inputs or random_maps(shape.side, draw))
    with torch.no_grad():
        w = generator.mapping(*(value.to(generator.pool.weight.device) for value in (identity, code)))
        given.setdefault("w_plus", generator.broadcast(w)[: len(given["region"])].contiguous())
    ordered = {name: given[name] for name in INPUTS}
    face = torch.rand(3, 4, SIDE, SIDE, generator=draw) * 2 - 1
    return {
        "generator": export_network(
            _Clamped(generator), ordered, ["image"], folder / "generator.onnx", examples=examples
        ),
        "styles": export_network(
            _Mapping(generator), {"identity": identity, "appearance": code}, ["w_plus"], folder / "styles.onnx"
        ),
        "appearance": export_network(appearance, {"face": face}, ["code"], folder / "appearance.onnx"),
    }


def random_maps(side: int, draw: torch.Generator) -> dict[str, torch.Tensor]:
    """Make three rows of smooth random maps, for each of the generator's inputs that is a picture."""

    def smooth(channels: int) -> torch.Tensor:
        coarse = torch.rand(3, channels, 8, 8, generator=draw)
        return nn.functional.interpolate(coarse, side, mode="bilinear", align_corners=False)

    region = (smooth(1) > 0.5).float()
    return {
        "context": (smooth(3) * 2 - 1) * (1 - region),
        "region": region,
        "lines": (smooth(2) > 0.9).float(),
        "glasses": (smooth(1) > 0.8).float() * region,
        "light": (smooth(3) * 2 - 1) * region,
    }
