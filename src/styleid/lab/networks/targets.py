"""The mapping of the appearance model: z and what a target should share with its source -> W+ of a face of nobody.

A target has parts of several synthetic people of a bank, its outline of one, its coarse features of another, its fine
ones of a third, and so on, each chosen by chance among those of the wanted sex, age and group, so that a small bank
gives many people. What it takes from its source is a handful of rough answers (sex, age to a decade, group, how much of
a beard), never a measurement.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise

import torch
from torch import nn

from styleid.lab.data.pack import GROUPS
from styleid.lab.networks.aam import ATTRIBUTE_ROW, BEARD, AAMConfig

Z = 64
_ATTRIBUTES = 2 + len(GROUPS)
_AGE_STEP = 10.0
_AGE_WEIGHT, _SEX_WEIGHT, _GROUP_WEIGHT = 0.4, 8.0, 0.8
"""What age and group bring of themselves lies in the attribute row, so that parts of others do for the rest: the more
people there are to choose from, the seldomer two targets have a part in common."""
_EMPHASIS = 2.0
_YOUNG, _AGE_GAIN, _SEX_GAIN, _GROUP_GAIN = 20.0, 1.6, 2.0, 2.0
"""Faces are drawn with less of their age, sex and group than they are meant to have: wrinkles and stubble are fine, and
those whose parts they have are of other groups."""
_FURTHEST_ROW = 5.0
_BEARD_STEP = 1.0


class TargetMapping(nn.Module):
    """Draw targets.

    Input: z (n, 64), attributes (n, 7) as the attribute network gives them, source W+ (n, layers, w), of which only the
    beard is read. Output: W+ (n, layers, w).

    parts: rows of W+ after the attribute row that come of one person each. What lies before them is of the first.

    Buffers: people_q int8 (people, layers, w) with people_scale (layers, w), their codes; traits (people, 7), their
    rounded attributes; trait_row (7 + 1, w), the attribute row that such traits bring; directions (64, people), which
    turn z into luck.
    """

    people_q: torch.Tensor
    people_scale: torch.Tensor
    traits: torch.Tensor
    trait_row: torch.Tensor
    directions: torch.Tensor

    def __init__(self, people: int, parts: Sequence[int], width: int) -> None:
        super().__init__()
        self.parts = tuple(parts)
        layers = ATTRIBUTE_ROW + 1 + sum(self.parts)
        draw = torch.Generator().manual_seed(11)
        buffers = {
            "people_q": torch.zeros(people, layers, width, dtype=torch.int8),
            "people_scale": torch.ones(layers, width),
            "traits": torch.zeros(people, _ATTRIBUTES),
            "trait_row": torch.zeros(_ATTRIBUTES + 1, width),
            "directions": torch.randn(Z, people, generator=draw) / Z**0.5,
        }
        for name, value in buffers.items():
            self.register_buffer(name, value)

    def forward(self, z: torch.Tensor, attributes: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
        """Return W+ of targets, (n, layers, w)."""
        wanted = round_traits(attributes)
        chosen = self.choose(z, wanted)
        return self.join(self.people_q[chosen].float() * self.people_scale, chosen, wanted, source)

    def choose(self, z: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        """Return whom of the bank each part is taken from, (n, parts); wanted: rounded traits (n, 7)."""
        apart = wanted[:, None] - self.traits[None]
        age, sex, group = apart[..., 0] / _AGE_STEP, apart[..., 1], apart[..., 2:]
        mismatch = _AGE_WEIGHT * age.abs() + _SEX_WEIGHT * sex.abs() + _GROUP_WEIGHT * group.abs().sum(-1)
        # each part has its own luck of the same z
        turned = torch.stack([z.roll(k * (Z // len(self.parts)), 1) for k in range(len(self.parts))], 1)
        return (turned @ self.directions - mismatch[:, None]).argmax(2)

    def join(
        self, given: torch.Tensor, chosen: torch.Tensor, wanted: torch.Tensor, source: torch.Tensor
    ) -> torch.Tensor:
        """Make W+ of the codes of those who were chosen for its parts, (n, parts, layers, w)."""
        rows = [given[:, part, start:end] for part, (start, end) in enumerate(part_rows(self.parts))]
        shift = _EMPHASIS * (self._row(exaggerated(wanted)) - self._row(self.traits[chosen[:, 0]]))
        row = (given[:, 0, ATTRIBUTE_ROW] + shift).clamp(-_FURTHEST_ROW, _FURTHEST_ROW)
        # a beard goes on below the chin, where no new face comes: the new one must have it too
        beard = (source[:, ATTRIBUTE_ROW, BEARD] / _BEARD_STEP).round() * _BEARD_STEP
        row = torch.cat([row[:, : BEARD.start], beard, row[:, BEARD.stop :]], 1)
        return torch.cat([given[:, 0, :ATTRIBUTE_ROW], row[:, None], *rows], 1)

    def people(self) -> torch.Tensor:
        """Return the codes of the bank's people, (people, layers, w)."""
        return self.people_q.float() * self.people_scale

    def _row(self, traits: torch.Tensor) -> torch.Tensor:
        return traits @ self.trait_row[:-1] + self.trait_row[-1]


def part_rows(parts: Sequence[int]) -> list[tuple[int, int]]:
    """Return the first row of W+ of each part and the row after its last."""
    return list(pairwise(accumulate(parts, initial=ATTRIBUTE_ROW + 1)))


def round_traits(attributes: torch.Tensor) -> torch.Tensor:
    """Round (n, 7) attributes to what a target may know: age to ten years, sex and group to the likeliest."""
    age = (attributes[:, :1] / _AGE_STEP).round() * _AGE_STEP
    sex = (attributes[:, 1:2] > 0.5).float()
    group = attributes[:, 2:]
    return torch.cat([age, sex, (group >= group.max(1, keepdim=True).values).float()], 1)


def exaggerated(traits: torch.Tensor) -> torch.Tensor:
    """Return rounded traits (n, 7) with ages further from twenty, sexes and groups further from each other."""
    age = _YOUNG + _AGE_GAIN * (traits[:, :1] - _YOUNG)
    sex = 0.5 + _SEX_GAIN * (traits[:, 1:2] - 0.5)
    group = 1 / len(GROUPS) + _GROUP_GAIN * (traits[:, 2:] - 1 / len(GROUPS))
    return torch.cat([age, sex, group], 1)


def parts_of(config: AAMConfig) -> tuple[int, ...]:
    """Return how many rows of a target come of one person each: halves of the shape, texture from coarse to fine."""
    shape, texture = config.shape_rows // 2, config.texture_rows // 8
    return config.shape_rows - shape, shape, texture, texture, 2 * texture, config.texture_rows - 4 * texture
