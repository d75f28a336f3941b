"""The mapping of a context bundle: z, attributes and source -> W+ of a target.

A target is one of a bank of generated people. It is drawn at random from those who are nearest in age, sex and group
and are strangers to the source. A random vector is then added to its identity, in directions that affect neither age,
sex nor group, so that a person of the bank gives different targets.
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
"""Costs of ten years, of the other sex, and of each of the two numbers in which groups differ."""
_STRANGERS, _LIKENESS_WEIGHT = 0.1, 20.0
"""Cosine similarity to the source above which a person has a cost, and the cost per unit of similarity."""
_FEW = 32
"""Number of best-fitting people to draw from. More would fit worse, fewer would repeat sooner."""
_MOST_WORSE = 6.0
"""Largest cost above that of the best-fitting person, less than the cost of the other sex or of the source itself."""
_NEVER = 100.0
_TIE = 0.01
"""Weight of the random numbers in the choice of the best-fitting people, which decides ties."""


def trait_features(traits: torch.Tensor) -> torch.Tensor:
    """Return the inputs (n, 8) of the linear model of the mean w: rounded traits (n, 7), age in centuries, and 1."""
    return torch.cat([traits[:, :1] / 100, traits[:, 1:], torch.ones_like(traits[:, :1])], 1)


class ContextMapping(nn.Module):
    """Draws targets.

    Input: z (n, 64); attributes (n, 7), as the attribute network gives them; source W+ (n, size), whose styles give the
    embedding that the target must differ from. Output: W+ (n, size).

    Buffers:
        people_q, people_scale: int8 (people, m) and (m,), the bank: geometry rows, unit embedding, appearance code.
        traits: (people, 7), rounded.
        directions: (64, people), map z to a random number for each person.
        variety: (64, identity), maps z to the vector that is added to an embedding.
        reading: (width + 1, identity), linear map from w to the embedding; the last row is the constant.
        centre: (8, width), linear map from `trait_features` to the mean w of such people.
        truncation: Share of the distance from that mean that w keeps (StyleGAN's truncation trick, Karras et al. 2019).
            Faces nearer to the mean have fewer artefacts.

    Args:
        people: Number of people in the bank.
        geometry: Length of the geometry rows.
        styles: Maps identity and appearance to w.
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
        """Draw targets.

        Args:
            z: (n, 64), standard normal.
            attributes: (n, 7), as the attribute network gives them.
            source: (n, size), W+ of the sources.

        Returns:
            W+ of targets, (n, size).
        """
        chosen = self.choose(z, round_traits(attributes), self.read_identity(source))
        geometry, identity, appearance = self.people(self.people_q[chosen])
        moved = functional.normalize(identity + self.identity_offset(z))
        centre = self.mean_styles(self.traits[chosen])
        return torch.cat([geometry, centre + self.truncation * (self.styles(moved, appearance) - centre)], 1)

    def mean_styles(self, traits: torch.Tensor) -> torch.Tensor:
        """Return the mean rows of w (n, layers * width) of people with rounded traits (n, 7)."""
        w = trait_features(traits) @ self.centre
        return w.repeat(1, self.styles.config.layers)

    def identity_offset(self, z: torch.Tensor) -> torch.Tensor:
        """Return the vectors (n, identity) that are added to the chosen people's unit embeddings."""
        return z.roll(Z // 2, 1) @ self.variety  # rolled, so that it hardly correlates with the choice of the person

    def choose(self, z: torch.Tensor, wanted: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
        """Choose people of the bank.

        Args:
            z: (n, 64).
            wanted: (n, 7), rounded traits.
            source: (n, identity), unit embeddings of the sources.

        Returns:
            (n,), indices into the bank.
        """
        apart = (wanted[:, None] - self.traits[None]).abs()
        age, sex, group = apart[..., 0] / _AGE_STEP, apart[..., 1], apart[..., 2:].sum(-1)
        mismatch = _AGE_WEIGHT * age + _SEX_WEIGHT * sex + _GROUP_WEIGHT * group
        identity, added = self.people(self.people_q)[1], self.identity_offset(z)
        # length of each person's embedding plus the offset
        size = (1 + 2 * added @ identity.T + (added * added).sum(1, keepdim=True)).clamp_min(1e-6).sqrt()
        alike = (source @ identity.T + (source * added).sum(1, keepdim=True)) / size
        mismatch = mismatch + _LIKENESS_WEIGHT * (alike - _STRANGERS).relu()
        luck = z @ self.directions
        few = (_TIE * luck - mismatch).topk(min(_FEW, luck.shape[1]), 1).indices
        cost = mismatch.gather(1, few)
        unfit = (cost - cost.amin(1, keepdim=True) - _MOST_WORSE).relu()
        return few.gather(1, (luck.gather(1, few) - _NEVER * unfit).argmax(1, keepdim=True))[:, 0]

    def people(self, rounded: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return geometry rows, unit embeddings and appearance codes of people, given their rows of `people_q`."""
        numbers = rounded.float() * self.people_scale
        end = self.geometry + self.identity
        identity = functional.normalize(numbers[:, self.geometry : end])
        return numbers[:, : self.geometry], identity, numbers[:, end:]

    def read_identity(self, w_plus: torch.Tensor) -> torch.Tensor:
        """Return an estimate of the unit embedding that W+ was made from, (n, identity)."""
        w = w_plus[:, self.geometry :].reshape(w_plus.shape[0], -1, self.width).mean(1)
        return functional.normalize(w @ self.reading[:-1] + self.reading[-1])
