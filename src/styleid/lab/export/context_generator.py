"""Export of a trained context generator to a bundle's ONNX file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from styleid.lab.export.network import ExportReport, export_network
from styleid.lab.networks.context_bundle import FlatGenerator
from styleid.lab.networks.context_generator import ContextGenerator

INPUTS = ("context", "region", "lines", "glasses", "light", "w_plus")
"""Names of the generator's inputs, in the order of its arguments."""


def export_context_generator(
    generator: ContextGenerator,
    path: Path,
    inputs: Mapping[str, torch.Tensor] | None = None,
    *,
    geometry: int = 0,
    examples: Mapping[str, np.ndarray[Any, Any]] | None = None,
) -> ExportReport:
    """Write a generator to an ONNX file: `INPUTS` -> image (n, 3, side, side) in [-1, 1].

    Args:
        generator: The generator.
        path: The file to write.
        inputs: Maps and flat W+ (n, geometry + layers * width) for the comparison with torch; None uses random ones.
        geometry: Length of the geometry rows, which precede the generator's rows in W+.
        examples: More inputs, to calibrate 8-bit convolutions; None keeps floating point.

    Raises:
        TrainingError: If the file's outputs differ too much from torch's; see `export_network`.
    """
    given = inputs or _random_inputs(generator, geometry)
    ordered = {name: given[name] for name in INPUTS}
    return export_network(FlatGenerator(generator, geometry), ordered, ["image"], path, examples=examples)


def _random_inputs(generator: ContextGenerator, geometry: int) -> dict[str, torch.Tensor]:
    draw, shape = torch.Generator().manual_seed(0), generator.config
    identity = nn.functional.normalize(torch.randn(3, shape.identity, generator=draw))
    code = torch.tanh(torch.randn(3, shape.appearance, generator=draw))
    with torch.no_grad():
        w = generator.mapping(*(value.to(generator.pool.weight.device) for value in (identity, code)))
    rows = torch.cat([torch.zeros(3, geometry), w.cpu().repeat(1, shape.layers)], 1)
    return random_maps(shape.side, draw) | {"w_plus": rows}


def random_maps(side: int, draw: torch.Generator) -> dict[str, torch.Tensor]:
    """Return three smooth random examples of each map of the generator, by input name."""

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
