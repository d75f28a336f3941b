"""The bank of synthetic people that the appearance model's targets are made of: who serves, and as what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from styleid.lab.data.pack import Pack
from styleid.lab.networks.aam import ATTRIBUTE_ROW
from styleid.lab.networks.targets import TargetMapping, parts_of, round_traits
from styleid.lab.tasks.aam_fit import face_visibility, ridge
from styleid.lab.tasks.trained import Trained

_HIDDEN_SHARE = 0.3
"""Share of the synthetic people, those with most hair and glasses before the face, that do not serve as targets."""
_SURE_OF_SEX = 0.6
"""How sure the attribute network must be of the sex of somebody in the bank, as they are drawn, without their hair."""


@dataclass(frozen=True)
class ReadFaces:
    """Every face of a pack as networks read it.

    codes: W+ (n, layers, w). traits: (n, 7), as the attribute network gives them. bare: share of the face that is seen,
    (n,).
    """

    codes: torch.Tensor
    traits: torch.Tensor
    bare: np.ndarray

    @classmethod
    def of(cls, pack: Pack, trained: Trained) -> ReadFaces:
        """Read a pack."""
        codes, traits, bare = [], [], []
        for start in range(0, len(pack), 64):
            rows = np.arange(start, min(start + 64, len(pack)))
            crops = torch.from_numpy(pack.crops(rows)).permute(0, 3, 1, 2).float() / 127.5 - 1
            valid = torch.from_numpy(np.stack([pack.valid_mask(i) for i in rows]))[:, None].float() / 255
            with torch.no_grad():
                visible = face_visibility(trained.parser, crops) * valid
                code = trained.model.encode(crops, torch.from_numpy(pack.landmarks68[rows]), visible)
                coverage = trained.model(code)[1]
                codes.append(code)
                traits.append(trained.attributes(crops))
                bare.append(((visible * coverage).sum((1, 2, 3)) / coverage.sum((1, 2, 3))).numpy())
        return cls(torch.cat(codes), torch.cat(traits), np.concatenate(bare))


def fit_bank(pack: Pack, faces: ReadFaces, trained: Trained, separation: nn.Module | None = None) -> TargetMapping:
    """Choose the synthetic people of a pack that serve, and make the mapping of them.

    separation: sets their codes (people, layers, w) further apart, as `styleid.lab.tasks.target_separation` learns to.
    """
    nobody = pack.synthetic & ~pack.held_out
    bank = nobody & (faces.bare >= np.quantile(faces.bare[nobody], _HIDDEN_SHARE))
    bank[bank] = _look_their_sex(faces, bank, trained)
    return fit_mapping(faces.codes, faces.traits, bank, parts_of(trained.model.config), separation)


def _look_their_sex(faces: ReadFaces, chosen: np.ndarray, trained: Trained) -> np.ndarray:
    """Return which of the chosen faces are seen as of their sex when they are drawn from the front, bool (n,)."""
    codes, was = faces.codes[chosen], faces.traits[chosen][:, 1].numpy()
    plain = torch.cat([torch.zeros_like(codes[:, :ATTRIBUTE_ROW]), codes[:, ATTRIBUTE_ROW:]], 1)
    with torch.no_grad():
        seen = torch.cat([trained.attributes(trained.generator(part)[0])[:, 1] for part in plain.split(64)]).numpy()
    return np.where(was > 0.5, seen, 1 - seen) >= _SURE_OF_SEX


_USUAL_SHARE = 0.85
"""Share of the bank whose distance from the mean face bounds everybody's: odd light and paint lie beyond."""


def fit_mapping(
    codes: torch.Tensor,
    traits: torch.Tensor,
    bank: np.ndarray[Any, Any],
    parts: Sequence[int],
    separation: nn.Module | None = None,
) -> TargetMapping:
    """Make the mapping from every training face's codes (n, layers, w) and traits (n, 7); bank: bool (n,), who serves.

    Only faces of nobody may serve. The attribute row's part is learnt from all. parts: how many rows after the
    attribute row each of the people that make a target gives, in order. separation: what sets the people's codes
    (people, layers, w) further apart.
    """
    rounded = round_traits(traits)
    if ATTRIBUTE_ROW + 1 + sum(parts) != codes.shape[1]:
        raise ValueError(f"Parts of {', '.join(map(str, parts))} rows do not make up W+ of {codes.shape[1]}.")
    mapping = TargetMapping(int(bank.sum()), parts, codes.shape[2])
    people = nearer(codes[bank])
    if separation is not None:
        with torch.no_grad():
            people = separation(people)
    scale = people.abs().amax(0).clamp_min(1e-6) / 127
    mapping.people_scale.copy_(scale)
    mapping.people_q.copy_((people / scale).round().to(torch.int8))
    mapping.traits.copy_(rounded[bank])
    known = np.concatenate([rounded.numpy(), np.ones((len(rounded), 1))], 1).astype(np.float64)
    mapping.trait_row.copy_(torch.from_numpy(ridge(known, codes[:, ATTRIBUTE_ROW].numpy().astype(np.float64), 1e-4)))
    return mapping


def nearer(people: torch.Tensor) -> torch.Tensor:
    """Draw those of a bank's people (n, layers, w) nearer whose shape and texture lie further out than most."""
    own = people[:, ATTRIBUTE_ROW + 1 :]
    distance = own.flatten(1).norm(dim=1)
    scale = (distance.quantile(_USUAL_SHARE) / distance.clamp_min(1e-6)).clamp_max(1.0)
    return torch.cat([people[:, : ATTRIBUTE_ROW + 1], own * scale[:, None, None]], 1)
