"""The matrices that set the people of a target bank apart."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from styleid.errors import TrainingError
from styleid.lab.networks.targets import part_rows

_FURTHEST = 4.5
_STRETCH = 1.3
"""How much further from the mean face than the bank's its people come to lie."""
_LEAST_SHARE = 1e-3
_SAME_ROWS = 0.3
"""How much nearer than anybody else in the bank somebody must be to their own codes in a bundle."""


class TargetSeparation(nn.Module):
    """Set a bank's people apart: codes (..., layers, w) -> codes (..., layers, w); rows before the parts stay.

    Each part has a matrix, in coordinates in which the bank's people differ by 1 whichever way one looks: so it tells
    which ways of faces to differ become larger than they are, and which smaller.
    parts: rows of each part, as `TargetMapping` has them. Buffers: the way into those coordinates and back, and how
    much further from the mean face (parts,) people come to lie than the bank's do, which a part's matrix does not
    change.
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

    def know(self, people: torch.Tensor) -> None:
        """Take from a bank's people, (people, layers, w), how faces differ."""
        for number, (start, end) in enumerate(self.rows):
            part = people[:, start:end].flatten(1)
            squares, ways = torch.linalg.eigh(part.T @ part / len(part))
            deviations = squares.clamp_min(_LEAST_SHARE * float(squares.max())).sqrt()
            self.get_buffer(f"even{number}").copy_(ways / deviations @ ways.T)
            self.get_buffer(f"uneven{number}").copy_(ways * deviations @ ways.T)

    def forward(self, people: torch.Tensor) -> torch.Tensor:
        """Return people further apart."""
        out = [people[..., : self.rows[0][0], :]]
        for number, (start, end) in enumerate(self.rows):
            matrix = self.get_buffer(f"even{number}") @ self._matrix(number) @ self.get_buffer(f"uneven{number}")
            turned = people[..., start:end, :].flatten(-2) @ matrix
            out.append(turned.clamp(-_FURTHEST, _FURTHEST).unflatten(-1, (end - start, -1)))
        return torch.cat(out, -2)

    def deviations(self) -> torch.Tensor:
        """Return by how much people differ each way, by how much the bank's do, the largest of each part first."""
        return torch.cat([torch.linalg.svdvals(self._matrix(number)) for number in range(len(self.rows))])

    def recover(self, people: torch.Tensor, given: torch.Tensor) -> TargetSeparation:
        """Become the separation that made of a bank's people (people, layers, w) those that a bundle's bank holds.

        given: the bundle's codes of all or most of the people, (others, layers, w), in any order. Who is who is told by
        the rows that no separation changes; the matrices are those of least squares. Raises TrainingError where fewer
        than half of `given` are among the people.
        """
        fixed = slice(0, self.rows[0][0])
        near, who = torch.cdist(given[:, fixed].flatten(1), people[:, fixed].flatten(1)).topk(2, largest=False)
        known = near[:, 0] < _SAME_ROWS * near[:, 1]
        if 2 * int(known.sum()) < len(given):
            raise TrainingError(
                "The bundle's bank holds other people than this pack gives. Train target-separation anew."
            )
        self.know(people)
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
