"""A tiny context generator's checkpoint and a pack of cartoon faces, to build a bundle from."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from styleid.lab.data.context_pack import ContextPack
from styleid.lab.networks.appearance_encoder import AppearanceEncoder
from styleid.lab.networks.context_generator import ContextGenerator, ContextGeneratorConfig
from styleid.lab.tasks.loop import RunState, save_networks
from tests.lab.context import synthetic_context_pack

CONFIG = ContextGeneratorConfig(64, (4, 4, 6, 8, 8), width=16, appearance=4)
GEOMETRY = 72
SIZE = GEOMETRY + CONFIG.layers * CONFIG.width


def pack() -> ContextPack:
    """Return a pack of cartoon faces with closed mouths in ordinary light, from which a neutral crop can be drawn."""
    found = synthetic_context_pack(40)
    landmarks = found.landmarks68.copy()
    landmarks[:, 65:68] = landmarks[:, [63, 62, 61]]
    return replace(found, luma=np.full(len(found), 140, np.float32), landmarks68=landmarks)


def networks() -> dict[str, nn.Module]:
    torch.manual_seed(3)
    generator, appearance = ContextGenerator(CONFIG), AppearanceEncoder(4, (4, 8))
    nn.init.normal_(generator.look.weight, std=100)  # so that codes have a clear effect on w
    return {"average": generator.eval(), "average_appearance": appearance.eval()}


def write_checkpoint(folder: Path) -> Path:
    """Write the networks as a checkpoint, and return its folder."""
    save_networks(networks(), RunState(7, 60.0, 1234, [{"step": 7.0, "identity": 0.71234}]), folder)
    return folder
