"""Set the people of a target bank apart, as a recogniser sees them in photos, by contrast.

A target is to be one person in every photo, and another than every other target, even in the very same photo. What the
appearance model calls large differences is seldom what a recogniser goes by. So each part of a person's codes goes
through a matrix that learns to put what the part may differ by, on the whole little more than in the bank, where faces
in photos are told apart: targets in several photos are alike with themselves and strangers to each other (a contrastive
loss with margins: Hadsell, Chopra and LeCun 2006), look their sex, age and group, and differ no way far more than faces
do. The matrices are multiplied into the bank when a bundle is built, and cost nothing at work.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from styleid.errors import TrainingError
from styleid.lab.aam import ATTRIBUTE_ROW, AAMConfig
from styleid.lab.bank import parts_of
from styleid.lab.loop import load_network
from styleid.lab.optim import adam_with_decay, descend_terms, set_learning_rate
from styleid.lab.studio import Studio, Tried
from styleid.lab.targets import TargetMapping, Z, part_rows
from styleid.lab.trained import Trained
from styleid.types import ImageRGB

_STRANGERS, _NEARLY, _SELF = 0.05, 0.3, 0.75
"""Similarities below which two targets are apart enough, or not nearly one, and above which one is like itself."""
_SELF_WEIGHT, _PLAIN_WEIGHT = 0.5, 10.0
_SEX_WEIGHT, _GROUP_WEIGHT, _AGE_WEIGHT = 0.5, 0.3, 0.05
_SURE, _SURE_OF_GROUP, _YEARS_OFF = 0.8, 0.6, 8.0
"""How likely a target's sex and group are to be, as the attribute network sees it in a photo, and its years aside."""
_LARGEST = 3.0
"""How much more than the bank's its people may differ any one way, from which on they count as odd: lids, brows and
shadows that nobody has."""
_FURTHEST = 4.5
_STRETCH = 1.3
"""How much further from the mean face than the bank's its people come to lie."""
_LEAST_SHARE = 1e-3
_SAME_ROWS = 0.3
"""How much nearer than anybody else in the bank somebody must be to their own codes in a bundle."""
_TARGETS, _PHOTOS = 8, 3
_WATCHED = 24


class Spread(nn.Module):
    """Spread a bank's people: codes (..., layers, w) -> codes (..., layers, w); rows before the parts stay.

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

    def recover(self, people: torch.Tensor, given: torch.Tensor) -> Spread:
        """Become the spread that made of a bank's people (people, layers, w) those that a bundle's bank holds.

        given: the bundle's codes of all or most of the people, (others, layers, w), in any order. Who is who is told by
        the rows that no spread changes; the matrices are those of least squares. Raises TrainingError where fewer than
        half of `given` are among the people.
        """
        fixed = slice(0, self.rows[0][0])
        near, who = torch.cdist(given[:, fixed].flatten(1), people[:, fixed].flatten(1)).topk(2, largest=False)
        known = near[:, 0] < _SAME_ROWS * near[:, 1]
        if 2 * int(known.sum()) < len(given):
            raise TrainingError("The bundle's bank holds other people than this pack gives. Learn the spread anew.")
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


@dataclass(frozen=True)
class _Batch:
    """Every target in every photo: `target` and `photo` number them, (n,); wanted: rounded traits, (n, 7)."""

    tried: Tried
    target: torch.Tensor
    photo: torch.Tensor
    wanted: torch.Tensor


class SpreadTask:
    """Train a `Spread` for a mapping whose people are as they were read."""

    def __init__(
        self,
        studio: Studio,
        mapping: TargetMapping,
        trained: Trained,
        *,
        batch: int = _TARGETS * _PHOTOS,
        learning_rate: float = 3e-3,
        far: float = 0.39,
    ) -> None:
        torch.manual_seed(0)
        self._studio, self._mapping, self._people = studio, mapping.eval(), mapping.people()
        self._recogniser, self._attributes = trained.identity, trained.attributes
        self._targets = max(2, batch // _PHOTOS)
        self.images_per_step, self.learning_rate, self._far = self._targets * _PHOTOS, learning_rate, far
        self._train, self._test = (torch.nonzero(studio.held_out == held)[:, 0] for held in (False, True))
        self._spread, self._average = (Spread(mapping.parts, self._people.shape[2]) for _ in range(2))
        for network in (self._spread, self._average):
            network.know(self._people)
        self._average.requires_grad_(False)
        self.networks: dict[str, nn.Module] = {"student": self._spread, "spread": self._average}
        self._optimizer = adam_with_decay(self._spread, learning_rate)
        self.optimizers: dict[str, torch.optim.Optimizer] = {"student": self._optimizer}

    def step(self, generator: torch.Generator, progress: float) -> Mapping[str, torch.Tensor]:
        """See `Task.step`."""
        set_learning_rate(self._optimizer, self.learning_rate, progress)
        batch = self._draw(self._spread, self._train, generator)
        alike, pairs = self._alike(batch)
        others = alike[pairs["same photo"] | pairs["other photo"]]
        strangers = (others - _STRANGERS).relu().square().mean() + (others - _NEARLY).relu().mean()
        itself = (_SELF - alike[pairs["itself"]]).relu().square().mean()
        years, sexes, groups = self._looks(batch.tried.crops, batch.wanted)
        faces = self._looks(batch.tried.images, batch.wanted)[1]  # hair would tell the sex
        sex = (_SURE - torch.cat([sexes, faces])).relu().mean()
        group = (_SURE_OF_GROUP - groups).relu().mean()
        age = (years - _YEARS_OFF).relu().mean() / 20
        plain = (self._spread.deviations() - _LARGEST).relu().square().mean()
        terms = {"strangers": strangers, "itself": itself, "sex": sex, "group": group, "age": age, "plain": plain}
        weights = (1.0, _SELF_WEIGHT, _SEX_WEIGHT, _GROUP_WEIGHT, _AGE_WEIGHT, _PLAIN_WEIGHT)
        return descend_terms(terms, weights, self._optimizer, self._spread, self._average)

    def _looks(self, crops: torch.Tensor, wanted: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return how many years aside faces look, and how likely of the sex and of the group wanted, each (n,)."""
        seen = self._attributes(crops)
        sex = torch.where(wanted[:, 1] > 0.5, seen[:, 1], 1 - seen[:, 1])
        return (seen[:, 0] - wanted[:, 0]).abs(), sex, (seen[:, 2:] * wanted[:, 2:]).sum(1)

    def _draw(self, spread: nn.Module, photos: torch.Tensor, generator: torch.Generator) -> _Batch:
        """Put new targets for one person's sex, age and group into photos of such people; rarer groups more often."""
        studio, mapping = self._studio, self._mapping
        groups = studio.traits[photos, 2:]
        rare = groups @ groups.sum(0).clamp_min(1).rsqrt()
        row = int(photos[torch.multinomial(rare, 1, generator=generator)])
        rows = studio.alike(row, _PHOTOS, generator)
        wanted = studio.traits[row].expand(self._targets, -1)
        chosen = mapping.choose(torch.randn(self._targets, Z, generator=generator), wanted)
        given = spread(self._people[chosen])
        target, photo = (grid.reshape(-1) for grid in torch.meshgrid(
            torch.arange(self._targets), torch.arange(len(rows)), indexing="ij"))  # fmt: skip
        own = studio.codes[rows[photo]]
        targets = mapping.join(given[target], chosen[target], wanted[target], own)
        wplus = torch.cat([own[:, :ATTRIBUTE_ROW], targets[:, ATTRIBUTE_ROW:]], 1)
        return _Batch(studio.put(rows[photo], wplus), target, photo, wanted[target])

    def _alike(self, batch: _Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Return similarities (n, n), and which pairs are what, each pair once."""
        embeddings = self._recogniser(batch.tried.views)
        upper = torch.ones(len(embeddings), len(embeddings), dtype=torch.bool).triu(1)
        one = batch.target[:, None] == batch.target
        here = batch.photo[:, None] == batch.photo
        pairs = {"same photo": upper & ~one & here, "other photo": upper & ~one & ~here, "itself": upper & one}
        return embeddings @ embeddings.T, pairs

    def evaluate(self) -> dict[str, float]:
        """See `Task.evaluate`: shares of pairs seen as one, of targets seen as meant, and both of the bank before."""
        out = {}
        for name, spread in (("", self._average), ("_before", nn.Identity())):
            found: dict[str, list[torch.Tensor]] = {}
            generator = torch.Generator().manual_seed(5)
            for _ in range(_WATCHED):
                with torch.no_grad():
                    batch = self._draw(spread, self._test, generator)
                    alike, pairs = self._alike(batch)
                    _, sexes, groups = self._looks(batch.tried.crops, batch.wanted)
                seen = {f"as_one_{kind.replace(' ', '_')}": alike[which] > self._far for kind, which in pairs.items()}
                for kind, right in (seen | {"sex": sexes > 0.5, "group": groups > 0.5}).items():
                    found.setdefault(kind + name, []).append(right)
            out |= {kind: float(torch.cat(parts).float().mean()) for kind, parts in found.items()}
        return out

    def sheet(self) -> ImageRGB:
        """Show targets, one column each, in photos that are held out, as the bank was and, below, spread."""
        generator, bands = torch.Generator().manual_seed(3), []
        for _ in range(3):
            state = generator.get_state()
            for spread in (nn.Identity(), self._average):
                generator.set_state(state)
                with torch.no_grad():
                    views = self._draw(spread, self._test, generator).tried.views
                grid = views.unflatten(0, (self._targets, -1)).permute(1, 3, 0, 4, 2)
                bands.append(grid.reshape(-1, self._targets * views.shape[-1], 3))
        picture = torch.cat(bands).numpy()
        return ((picture + 1) * 127.5).clip(0, 255).astype(np.uint8)


def load_spread(checkpoints: Path, config: AAMConfig) -> Spread:
    """Read the checkpoint `spread` of a folder."""
    return load_network(Spread(parts_of(config), config.width), checkpoints / "spread", "spread")
