"""Networks small enough to train in a test, and inputs for them."""

import torch
from torch import nn

from styleid.lab.networks.attributes import AttributesConfig
from styleid.lab.networks.identity import IdentityConfig
from styleid.lab.networks.parser import CLASSES, LANDMARKS, ParserConfig
from styleid.lab.networks.refiner import RefinerConfig

IDENTITY, REFINER = IdentityConfig((4, 6, 8, 8), (1, 1, 1, 1)), RefinerConfig(32, (4, 6, 8, 8))
PARSER, ATTRIBUTES = ParserConfig(32, (4, 6, 8, 8)), AttributesConfig(32, 32, IDENTITY)


class Bare(nn.Module):
    """Replaces a parser; it labels everything as skin."""

    def forward(self, crops: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        n, _, height, width = crops.shape
        logits = torch.zeros(n, CLASSES, height // 2, width // 2)
        logits[:, 1] = 20.0
        return logits, torch.zeros(n, LANDMARKS, 2)


def crops(n: int, size: int = 32) -> torch.Tensor:
    return torch.rand(n, 3, size, size, generator=torch.Generator().manual_seed(0)) * 2 - 1


def lived_in(network: nn.Module) -> nn.Module:
    """Give normalisation layers random statistics, as after training, so that the export can fold them."""
    draw = torch.Generator().manual_seed(1)
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.copy_(torch.randn(layer.running_mean.shape, generator=draw) / 5)
            layer.running_var.copy_(torch.rand(layer.running_var.shape, generator=draw) + 0.5)
    return network.eval()
