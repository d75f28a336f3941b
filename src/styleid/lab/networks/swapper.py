"""The latent swapper of the appearance model: how much of each number to take from the target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from styleid.lab.networks.aam import ATTRIBUTE_ROW
from styleid.lab.networks.mapper import MapperLevel
from styleid.lab.networks.targets import part_rows

_KEPT_ROWS = 3
"""Pose, placement and expression, which stay with the source."""
_FIRST_PART = ATTRIBUTE_ROW + 1
_LOCKED_PARTS = 3
"""How many parts of a target the identity lock takes whole: both of the shape, and the coarsest texture."""


class Swapper(nn.Module):
    """Weigh source against target: W+ (n, layers, w) of both -> the target's share, (n, layers, w) in [0, 1].

    parts: rows of each part, as `TargetMapping` has them; every row before them is a level of its own, of which the
    first three stay. locked: take the first parts from the target whole.
    """

    def __init__(self, parts: Sequence[int], width: int, *, locked: bool = True) -> None:
        super().__init__()
        self.rows = [(row, row + 1) for row in range(_FIRST_PART)] + part_rows(parts)
        taken = range(_FIRST_PART, _FIRST_PART + _LOCKED_PARTS) if locked else range(0)
        self.whole = frozenset(taken)
        self.levels = nn.ModuleList(
            nn.Identity() if number < _KEPT_ROWS or number in taken else MapperLevel(width, axis=2)
            for number in range(len(self.rows))
        )

    @staticmethod
    def is_locked(state: Mapping[str, torch.Tensor]) -> bool:
        """Say whether a state dict is that of a locked swapper, which has no weights for the parts taken whole."""
        return not any(name.startswith(f"levels.{_FIRST_PART}.") for name in state)

    def forward(self, source: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Return the target's share, (n, layers, w)."""
        shares = []
        for number, (level, (start, end)) in enumerate(zip(self.levels, self.rows, strict=True)):
            own, other = source[:, start:end], target[:, start:end]
            if isinstance(level, MapperLevel):
                shares.append(level(own, other))
            else:
                shares.append(torch.full_like(own, float(number in self.whole)))
        return torch.cat(shares, 1)
