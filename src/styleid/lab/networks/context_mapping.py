"""The mapping of a context bundle: z and what a target should share with its source -> W+ of somebody of a bank.

The person is one of a bank of people who never lived: chosen by chance among the few who are nearest to the wanted
age, sex and group, and strangers to the source. Chance also moves their identity, in directions that tell neither age
nor sex nor group, so that who is drawn twice is not the same twice.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from styleid.lab.data.pack import GROUPS
from styleid.lab.networks.context_bundle import Styles
from styleid.lab.networks.targets import Z, round_traits

_AGE_STEP = 10.0
_AGE_WEIGHT, _SEX_WEIGHT, _GROUP_WEIGHT = 0.8, 8.0, 2.0
"""What ten years, the other sex and another group (which differs in two numbers) cost when people are compared."""
_STRANGERS, _LIKENESS_WEIGHT = 0.1, 20.0
"""Cosine to the source's identity from which on somebody costs, and how much a whole one would."""
_FEW = 32
"""How many of those who fit best are drawn from: more would fit worse, fewer would come again sooner."""
_MOST_WORSE = 6.0
"""By how much more than who fits best somebody may cost: less than the other sex, or than the source, would."""
_NEVER = 100.0
_TIE = 0.01
"""What luck counts for among those who fit alike, so that chance says who is among the few."""


def told_by_traits(traits: torch.Tensor) -> torch.Tensor:
    """Return what the mean w is a linear function of, (n, 8): rounded traits (n, 7), age in centuries, and 1."""
    return torch.cat([traits[:, :1] / 100, traits[:, 1:], torch.ones_like(traits[:, :1])], 1)


class ContextMapping(nn.Module):
    """Draw targets.

    Input: z (n, 64), attributes (n, 7) as the attribute network gives them, source W+ (n, size), of which the styles
    tell about whom the target must not be like. Output: W+ (n, size).

    Buffers: people_q int8 (people, geometry + identity + appearance), with people_scale (geometry + identity +
    appearance,): each one's geometry rows, unit embedding and appearance code; traits (people, 7), rounded; directions
    (64, people), which turn z into luck; variety (64, identity), which turns z into what is added to an identity;
    reading (width + 1, identity), by which an embedding is read off w; centre (8, width), which tells
    the mean w of people of some traits; truncation, how far from it w stays (StyleGAN's truncation trick, Karras et al.
    2019): faces nearer to the mean are drawn with fewer faults.
    """

    people_q: torch.Tensor
    people_scale: torch.Tensor
    traits: torch.Tensor
    directions: torch.Tensor
    variety: torch.Tensor
    reading: torch.Tensor
    centre: torch.Tensor
    truncation: torch.Tensor

    def __init__(self, people: int, geometry: int, styles: Styles) -> None:
        super().__init__()
        self.styles, self.geometry = styles, geometry
        self.width, self.identity = styles.config.width, styles.config.identity
        numbers = geometry + self.identity + styles.config.appearance
        draw = torch.Generator().manual_seed(11)
        buffers = {
            "people_q": torch.zeros(people, numbers, dtype=torch.int8),
            "people_scale": torch.ones(numbers),
            "traits": torch.zeros(people, 2 + len(GROUPS)),
            "directions": torch.randn(Z, people, generator=draw) / Z**0.5,
            "variety": torch.zeros(Z, self.identity),
            "reading": torch.zeros(self.width + 1, self.identity),
            "centre": torch.zeros(1 + 2 + len(GROUPS), self.width),
            "truncation": torch.ones(()),
        }
        for name, value in buffers.items():
            self.register_buffer(name, value)

    def forward(self, z: torch.Tensor, attributes: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
        """Return W+ of targets."""
        chosen = self.choose(z, round_traits(attributes), self.read_identity(source))
        geometry, identity, appearance = self.people(self.people_q[chosen])
        moved = functional.normalize(identity + self.added(z))
        centre = self.usual(self.traits[chosen])
        return torch.cat([geometry, centre + self.truncation * (self.styles(moved, appearance) - centre)], 1)

    def usual(self, traits: torch.Tensor) -> torch.Tensor:
        """Return the usual styles of people of such rounded traits (n, 7)."""
        w = told_by_traits(traits) @ self.centre
        return w.repeat(1, self.styles.config.layers)

    def added(self, z: torch.Tensor) -> torch.Tensor:
        """Return what z adds to whoever's unit embedding, (n, 128)."""
        return z.roll(Z // 2, 1) @ self.variety  # rolled, so that it has little to do with luck

    def choose(self, z: torch.Tensor, wanted: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
        """Return who of the bank is taken, (n,); wanted: rounded traits (n, 7); source: unit embeddings (n, 128)."""
        apart = (wanted[:, None] - self.traits[None]).abs()
        age, sex, group = apart[..., 0] / _AGE_STEP, apart[..., 1], apart[..., 2:].sum(-1)
        mismatch = _AGE_WEIGHT * age + _SEX_WEIGHT * sex + _GROUP_WEIGHT * group
        identity, added = self.people(self.people_q)[1], self.added(z)
        # of each person's identity with what is added to it
        size = (1 + 2 * added @ identity.T + (added * added).sum(1, keepdim=True)).clamp_min(1e-6).sqrt()
        alike = (source @ identity.T + (source * added).sum(1, keepdim=True)) / size
        mismatch = mismatch + _LIKENESS_WEIGHT * (alike - _STRANGERS).relu()
        luck = z @ self.directions
        few = (_TIE * luck - mismatch).topk(min(_FEW, luck.shape[1]), 1).indices
        cost = mismatch.gather(1, few)
        unfit = (cost - cost.amin(1, keepdim=True) - _MOST_WORSE).relu()
        return few.gather(1, (luck.gather(1, few) - _NEVER * unfit).argmax(1, keepdim=True))[:, 0]

    def people(self, rounded: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return geometry rows, unit embeddings and appearance codes of people as they are stored."""
        numbers = rounded.float() * self.people_scale
        end = self.geometry + self.identity
        identity = functional.normalize(numbers[:, self.geometry : end])
        return numbers[:, : self.geometry], identity, numbers[:, end:]

    def read_identity(self, w_plus: torch.Tensor) -> torch.Tensor:
        """Return about whose unit embedding W+ was made of, (n, 128)."""
        w = w_plus[:, self.geometry :].reshape(w_plus.shape[0], -1, self.width).mean(1)
        return functional.normalize(w @ self.reading[:-1] + self.reading[-1])
