"""Small random checkpoints in the upstream release's layout, with its names and nesting."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from styleid.lab.networks.irse import EmbedderConfig, EncoderConfig, FaceEmbedder, StyleEncoder
from styleid.lab.networks.mapper import LevelsMapper, MapperConfig
from styleid.lab.networks.mobilenet import AttributeMobileNet, MobileNetConfig
from styleid.lab.networks.stylegan2 import Generator, GeneratorConfig
from styleid.lab.networks.unet import ParsingUNet, UNetConfig

SIDE, ROWS, WIDTH = 64, 10, 32
STAGES = ((8, 1), (12, 1), (16, 2), (WIDTH, 1))
NETWORKS: dict[str, Any] = {
    "generator": lambda: Generator(GeneratorConfig(SIDE, WIDTH, 2, dict.fromkeys((4, 8, 16, 32, 64), 8))),
    "inverter": lambda: StyleEncoder(EncoderConfig(3, SIDE, ROWS, WIDTH, STAGES)),
    "mask_encoder": lambda: StyleEncoder(EncoderConfig(19, SIDE, ROWS, WIDTH, STAGES), deltas=False),
    "swapper": lambda: LevelsMapper(MapperConfig(WIDTH)),
    "identity": lambda: FaceEmbedder(EmbedderConfig(112, 24, STAGES)),
    "attributes": lambda: AttributeMobileNet(MobileNetConfig((4, *[6] * 13))),
    "parser": lambda: ParsingUNet(UNetConfig((2, 3, 4, 5, 6))),
}


def wrapped(role: str, network: nn.Module) -> Any:
    """Return a network's state dict with the nesting of upstream's file."""
    state = network.state_dict()
    if role == "generator":
        return {"g_ema": state, "latent_avg": torch.randn(WIDTH) / 9}
    if role in ("inverter", "mask_encoder"):
        kind = "Encoder4Editing" if role == "inverter" else "GradualStyleEncoder"
        nested = {f"encoder.{name}": value for name, value in state.items()} | {"decoder.input.input": torch.zeros(1)}
        return {"state_dict": nested, "latent_avg": torch.randn(ROWS, WIDTH) / 9, "opts": {"encoder_type": kind}}
    if role == "swapper":
        return {"state_dict": {f"mapper.{name}": value for name, value in state.items()}, "opts": {"no_fine_mapper": 0}}
    if role == "attributes":
        return {"model_state_dict": state, "epoch": 3, "loss": np.float64(0.5)}
    return state


def write_checkpoints(folder: Path) -> dict[str, Path]:
    """Write one file per role, and return their paths."""
    torch.manual_seed(0)
    folder.mkdir(parents=True, exist_ok=True)
    files = {}
    for role, make in NETWORKS.items():
        files[role] = folder / f"{role}.pt"
        torch.save(wrapped(role, make()), files[role])
    return files
