"""The mapping of the appearance model: z, attributes and source -> W+ of a target.

A target combines parts of several generated people of a bank: the outline of one, the coarse features of another, fine
features of a third, and so on. Each part is drawn at random from people of similar sex, age and group, so that a small
bank gives many targets. From its source a target takes only rounded attributes (sex, age to ten years, group, strength
of a beard), no measurement.
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
"""Costs of ten years, of the other sex, and of each of the two numbers in which groups differ. Those of age and group
are low, because the attribute row covers most of their effect, and with more people to choose from fewer targets share
a part."""
_EMPHASIS = 2.0
_YOUNG, _AGE_GAIN, _SEX_GAIN, _GROUP_GAIN = 20.0, 1.6, 2.0, 2.0
"""Reference age, and gains of age, sex and group in the attribute row. Without them faces look less of their attributes
than wanted, because wrinkles and stubble are fine details and parts come from people of other groups."""
_FURTHEST_ROW = 5.0
_BEARD_STEP = 1.0


class TargetMapping(nn.Module):
    """Draws targets.

    Input: z (n, 64); attributes (n, 7), as the attribute network gives them; source W+ (n, layers, w), of which only
    the beard is used. Output: W+ (n, layers, w).

    Buffers:
        people_q, people_scale: int8 (people, layers, w) and (layers, w), the codes of the bank.
        traits: (people, 7), rounded attributes.
        trait_row: (7 + 1, w), linear map from traits to the attribute row; the last row is the constant.
        directions: (64, people), map z to a random number for each person.

    Args:
        people: Number of people in the bank.
        parts: Numbers of rows after the attribute row that come from one person each. The rows before come from the
            person of the first part.
        width: Channels per row of W+.
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
        """Draw targets.

        Args:
            z: (n, 64), standard normal.
            attributes: (n, 7), as the attribute network gives them.
            source: (n, layers, w), W+ of the sources, of which only the beard is used.

        Returns:
            W+ of targets, (n, layers, w).
        """
        wanted = round_traits(attributes)
        chosen = self.choose(z, wanted)
        return self.join(self.people_q[chosen].float() * self.people_scale, chosen, wanted, source)

    def choose(self, z: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        """Choose a person of the bank for each part.

        Args:
            z: (n, 64).
            wanted: (n, 7), rounded traits.

        Returns:
            (n, parts), indices into the bank.
        """
        apart = wanted[:, None] - self.traits[None]
        age, sex, group = apart[..., 0] / _AGE_STEP, apart[..., 1], apart[..., 2:]
        mismatch = _AGE_WEIGHT * age.abs() + _SEX_WEIGHT * sex.abs() + _GROUP_WEIGHT * group.abs().sum(-1)
        # each part gets other random numbers from the same z
        turned = torch.stack([z.roll(k * (Z // len(self.parts)), 1) for k in range(len(self.parts))], 1)
        return (turned @ self.directions - mismatch[:, None]).argmax(2)

    def join(
        self, given: torch.Tensor, chosen: torch.Tensor, wanted: torch.Tensor, source: torch.Tensor
    ) -> torch.Tensor:
        """Combine the codes of the people who were chosen for the parts.

        Args:
            given: (n, parts, layers, w), their codes.
            chosen: (n, parts), their indices in the bank.
            wanted: (n, 7), rounded traits.
            source: (n, layers, w), W+ of the sources, for the beard.

        Returns:
            W+ of targets, (n, layers, w).
        """
        rows = [given[:, part, start:end] for part, (start, end) in enumerate(part_rows(self.parts))]
        shift = _EMPHASIS * (self._row(exaggerated(wanted)) - self._row(self.traits[chosen[:, 0]]))
        row = (given[:, 0, ATTRIBUTE_ROW] + shift).clamp(-_FURTHEST_ROW, _FURTHEST_ROW)
        # a beard continues below the chin, where the photo is kept, so the new face must have it, too
        beard = (source[:, ATTRIBUTE_ROW, BEARD] / _BEARD_STEP).round() * _BEARD_STEP
        row = torch.cat([row[:, : BEARD.start], beard, row[:, BEARD.stop :]], 1)
        return torch.cat([given[:, 0, :ATTRIBUTE_ROW], row[:, None], *rows], 1)

    def people(self) -> torch.Tensor:
        """Return the codes of the bank, (people, layers, w)."""
        return self.people_q.float() * self.people_scale

    def _row(self, traits: torch.Tensor) -> torch.Tensor:
        return traits @ self.trait_row[:-1] + self.trait_row[-1]


def part_rows(parts: Sequence[int]) -> list[tuple[int, int]]:
    """Return the first row of each part in W+ and the row after its last, for parts of the given numbers of rows."""
    return list(pairwise(accumulate(parts, initial=ATTRIBUTE_ROW + 1)))


def round_traits(attributes: torch.Tensor) -> torch.Tensor:
    """Round attributes (n, 7) to those that a target gets: age to ten years, sex and group to the most likely."""
    age = (attributes[:, :1] / _AGE_STEP).round() * _AGE_STEP
    sex = (attributes[:, 1:2] > 0.5).float()
    group = attributes[:, 2:]
    return torch.cat([age, sex, (group >= group.max(1, keepdim=True).values).float()], 1)


def exaggerated(traits: torch.Tensor) -> torch.Tensor:
    """Return rounded traits (n, 7) with the gains of age, sex and group applied; see `_AGE_GAIN`."""
    age = _YOUNG + _AGE_GAIN * (traits[:, :1] - _YOUNG)
    sex = 0.5 + _SEX_GAIN * (traits[:, 1:2] - 0.5)
    group = 1 / len(GROUPS) + _GROUP_GAIN * (traits[:, 2:] - 1 / len(GROUPS))
    return torch.cat([age, sex, group], 1)


def parts_of(config: AAMConfig) -> tuple[int, ...]:
    """Return the numbers of rows that come from one person each: two halves of the shape, four parts of the texture."""
    shape, texture = config.shape_rows // 2, config.texture_rows // 8
    return config.shape_rows - shape, shape, texture, texture, 2 * texture, config.texture_rows - 4 * texture
