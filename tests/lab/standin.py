"""Replacements for third-party files that may be absent."""

from pathlib import Path

import torch
from torch import nn


class Teacher(nn.Module):
    """Replaces the identity teacher, whose file may be absent."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.project = nn.Linear(3 * 16, 128)

    def forward(self, views: torch.Tensor) -> torch.Tensor:
        small = nn.functional.adaptive_avg_pool2d(views.float(), 4)
        return nn.functional.normalize(self.project(small.flatten(1)).float())
