"""Export of a trained StyleGAN2 and its inverter to ONNX files of a bundle."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from styleid.errors import TrainingError
from styleid.lab.export.network import ExportReport, export_network
from styleid.lab.networks.inverter import Inverter
from styleid.lab.networks.stylegan2 import Generator


def style_names(count: int) -> list[str]:
    """Return the names of the style vectors of S in the files: s_00, s_01, ..."""
    return [f"s_{number:02d}" for number in range(count)]


def export_stylegan2(
    generator: Generator, folder: Path, *, truncation: float = 1.0, half: bool = True
) -> dict[str, ExportReport]:
    """Write mapping.onnx, generator.onnx, affines.onnx and synthesis.onnx, with the stored noise as constants.

    mapping: z (n, width) -> w (n, width), moved towards the mean w if truncation is below 1. generator: w_plus
    (n, layers, width) -> image (n, 3, resolution, resolution), about [-1, 1]. affines: w_plus -> s_00 ...; synthesis:
    s_00 ... -> image.

    Args:
        generator: The generator.
        folder: Folder to write to.
        truncation: Share of the distance from the mean w that w keeps, above 0 and at most 1.
        half: Store large weights as float16.

    Returns:
        One report per file, by the file's name without suffix.

    Raises:
        TrainingError: If the truncation is out of range, or a file differs from torch; see `export_network`.
    """
    if not 0 < truncation <= 1:
        raise TrainingError(f"truncation must be above 0 and at most 1, not {truncation}.")
    config = generator.config
    draw = torch.Generator().manual_seed(0)
    z = torch.randn(3, config.width, generator=draw)
    with torch.no_grad():
        device = generator.input.input.device
        w_plus = generator.broadcast(generator.mapping(z.to(device))).contiguous()
        w_plus = w_plus.cpu() * (1 + 0.2 * torch.randn(w_plus.shape, generator=draw))
        styles = [style.cpu() for style in generator.styles(w_plus.to(device))]
    names = style_names(len(styles))
    works: dict[str, tuple[nn.Module, dict[str, torch.Tensor], Sequence[str]]] = {
        "mapping": (_Mapping(generator, truncation), {"z": z}, ["w"]),
        "generator": (generator, {"w_plus": w_plus}, ["image"]),
        "affines": (_Affines(generator), {"w_plus": w_plus}, names),
        "synthesis": (_Synthesis(generator), dict(zip(names, styles, strict=True)), ["image"]),
    }
    return {
        name: export_network(network, inputs, outputs, folder / f"{name}.onnx", half=half)
        for name, (network, inputs, outputs) in works.items()
    }


class _Mapping(nn.Module):
    mean: torch.Tensor

    def __init__(self, generator: Generator, truncation: float) -> None:
        super().__init__()
        self.style, self.truncation = generator.style, truncation
        self.register_buffer("mean", generator.mean_w())

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        w = self.style(z)
        return w if self.truncation == 1 else self.mean + self.truncation * (w - self.mean)


class _Affines(nn.Module):
    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, w_plus: torch.Tensor) -> list[torch.Tensor]:
        return self.generator.styles(w_plus)


class _Synthesis(nn.Module):
    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, *styles: torch.Tensor) -> torch.Tensor:
        return self.generator.synthesis(styles)


def export_inverter(inverter: Inverter, path: Path, **options: Any) -> ExportReport:
    """Write an inverter to an ONNX file: crop (n, 3, size_px, size_px) in [-1, 1] -> w_plus (n, layers, width).

    Args:
        inverter: The inverter.
        path: The file to write.
        options: Further arguments of `export_network`.

    Raises:
        TrainingError: If the file differs from torch; see `export_network`.
    """
    side = inverter.config.size_px
    crops = torch.rand(3, 3, side, side, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return export_network(inverter, {"crop": crops}, ["w_plus"], path, **options)
