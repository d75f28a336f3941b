"""Linear maps that make the people of a target bank more distinct."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from styleid.errors import TrainingError
from styleid.lab.networks.targets import part_rows

_FURTHEST = 4.5
_STRETCH = 1.3
"""Root mean square factor by which people are moved away from the mean face."""
_LEAST_SHARE = 1e-3
_SAME_ROWS = 0.3
"""Largest ratio of the distances to the nearest and second nearest person for which the nearest counts as a match."""


class TargetSeparation(nn.Module):
    """Makes a bank's people more distinct by one linear map per part of W+. Rows before the parts do not change.

    The maps act in whitened coordinates, in which the bank has unit variance in every direction. They therefore
    determine which differences between faces become larger and which smaller.

    Parameters: turns, one (side, side) matrix per part, added to the identity and then scaled to the part's stretch.
    Buffers: even*, uneven*, the whitening matrix of each part and its inverse; stretch (parts,), the factor by which
    people move away from the mean face.

    Args:
        parts: Numbers of rows of each part, see `TargetMapping`.
        width: Channels per row of W+.
    """

    stretch: torch.Tensor

    def __init__(self, parts: Sequence[int], width: int) -> None:
        super().__init__()
        self.rows = part_rows(parts)
        self._sides = [(end - start) * width for start, end in self.rows]
        self.turns = nn.ParameterList([nn.Parameter(torch.zeros(side, side)) for side in self._sides])
        self.register_buffer("stretch", torch.full((len(self._sides),), _STRETCH))
        for number, side in enumerate(self._sides):
            self.register_buffer(f"even{number}", torch.eye(side))
            self.register_buffer(f"uneven{number}", torch.eye(side))

    def fit_whitening(self, people: torch.Tensor) -> None:
        """Set the whitening matrices from the codes of a bank's people, (people, layers, w)."""
        for number, (start, end) in enumerate(self.rows):
            part = people[:, start:end].flatten(1)
            squares, ways = torch.linalg.eigh(part.T @ part / len(part))
            deviations = squares.clamp_min(_LEAST_SHARE * float(squares.max())).sqrt()
            self.get_buffer(f"even{number}").copy_(ways / deviations @ ways.T)
            self.get_buffer(f"uneven{number}").copy_(ways * deviations @ ways.T)

    def forward(self, people: torch.Tensor) -> torch.Tensor:
        """Return the separated codes, for codes (..., layers, w)."""
        out = [people[..., : self.rows[0][0], :]]
        for number, (start, end) in enumerate(self.rows):
            matrix = self.get_buffer(f"even{number}") @ self._matrix(number) @ self.get_buffer(f"uneven{number}")
            turned = people[..., start:end, :].flatten(-2) @ matrix
            out.append(turned.clamp(-_FURTHEST, _FURTHEST).unflatten(-1, (end - start, -1)))
        return torch.cat(out, -2)

    def deviations(self) -> torch.Tensor:
        """Return the standard deviations after the maps relative to the bank's, one per direction, (directions,).

        They are the singular values of the maps, in descending order for each part.
        """
        return torch.cat([torch.linalg.svdvals(self._matrix(number)) for number in range(len(self.rows))])

    def recover(self, people: torch.Tensor, given: torch.Tensor) -> TargetSeparation:
        """Set the maps to those with which a bundle's bank was made.

        The rows that a separation does not change identify the people. The maps are fitted by least squares.

        Args:
            people: (people, layers, w), codes of the bank before the separation.
            given: (others, layers, w), codes in the bundle of all or most of these people, in any order.

        Returns:
            This module.

        Raises:
            TrainingError: If fewer than half of `given` are found among the people.
        """
        fixed = slice(0, self.rows[0][0])
        near, who = torch.cdist(given[:, fixed].flatten(1), people[:, fixed].flatten(1)).topk(2, largest=False)
        known = near[:, 0] < _SAME_ROWS * near[:, 1]
        if 2 * int(known.sum()) < len(given):
            raise TrainingError(
                "The people in the bundle's bank do not match this pack's. Use the pack that the bundle was made from, "
                "or train target-separation anew."
            )
        self.fit_whitening(people)
        before, after = people[who[known, 0]], given[known]
        for number, (start, end) in enumerate(self.rows):
            even = self.get_buffer(f"even{number}")
            own, came = (codes[:, start:end].flatten(1) @ even for codes in (before, after))
            matrix = torch.linalg.lstsq(own, came).solution
            with torch.no_grad():
                self.turns[number].copy_(matrix - torch.eye(len(matrix)))
                self.stretch[number] = matrix.square().sum(1).mean().sqrt()
        return self

    def _matrix(self, number: int) -> torch.Tensor:
        matrix = torch.eye(self._sides[number]) + self.turns[number]
        return matrix * (self.stretch[number] / matrix.square().sum(1).mean().sqrt())
