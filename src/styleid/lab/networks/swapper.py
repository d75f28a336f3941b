"""The latent swapper of the appearance model, which computes the target's share of each number of W+."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from styleid.lab.networks.aam import ATTRIBUTE_ROW
from styleid.lab.networks.mapper import MapperLevel
from styleid.lab.networks.targets import part_rows

_KEPT_ROWS = 3
"""Rows of pose, placement and expression, which stay with the source."""
_FIRST_PART = ATTRIBUTE_ROW + 1
_LOCKED_PARTS = 3
"""Number of parts that the identity lock takes completely from the target: the two of the shape and the coarsest
texture."""


class Swapper(nn.Module):
    """Weighs source against target.

    Args:
        parts: Numbers of rows of each part, see `TargetMapping`. Each row before the parts is a level of its own; the
            first three stay with the source.
        width: Channels per row of W+.
        locked: Take the first parts completely from the target (identity lock).
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
        """Return whether a state dict is a locked swapper's, which has no weights for the locked parts."""
        return not any(name.startswith(f"levels.{_FIRST_PART}.") for name in state)

    def forward(self, source: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Return the target's share, (n, layers, w) in [0, 1], for W+ (n, layers, w) of both."""
        shares = []
        for number, (level, (start, end)) in enumerate(zip(self.levels, self.rows, strict=True)):
            own, other = source[:, start:end], target[:, start:end]
            if isinstance(level, MapperLevel):
                shares.append(level(own, other))
            else:
                shares.append(torch.full_like(own, float(number in self.whole)))
        return torch.cat(shares, 1)
