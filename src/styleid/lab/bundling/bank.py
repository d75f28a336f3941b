"""The bank of generated people from whose parts the appearance model's targets are made."""

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
"""Share of the generated people that is left out: those whose face is most covered by hair and glasses."""
_SURE_OF_SEX = 0.6
"""Least probability of a person's sex by the attribute network, when the face is drawn from the front without hair."""


@dataclass(frozen=True)
class ReadFaces:
    """The networks' outputs for all faces of a pack.

    Attributes:
        codes: W+, (n, layers, w).
        traits: Attributes, (n, 7).
        bare: Visible share of each face, (n,) in [0, 1].
    """

    codes: torch.Tensor
    traits: torch.Tensor
    bare: np.ndarray

    @classmethod
    def of(cls, pack: Pack, trained: Trained) -> ReadFaces:
        """Run the networks on all faces of a pack."""
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
    """Choose the bank from a pack's generated faces, and make the mapping.

    Args:
        pack: The pack.
        faces: The networks' outputs for it.
        trained: The networks.
        separation: Makes the codes (people, layers, w) more distinct, see `TargetSeparation`; None leaves them as is.
    """
    nobody = pack.synthetic & ~pack.held_out
    bank = nobody & (faces.bare >= np.quantile(faces.bare[nobody], _HIDDEN_SHARE))
    bank[bank] = _look_their_sex(faces, bank, trained)
    return fit_mapping(faces.codes, faces.traits, bank, parts_of(trained.model.config), separation)


def _look_their_sex(faces: ReadFaces, chosen: np.ndarray, trained: Trained) -> np.ndarray:
    """Return which of the chosen faces still look their sex when drawn from the front without hair, bool (n,)."""
    codes, was = faces.codes[chosen], faces.traits[chosen][:, 1].numpy()
    plain = torch.cat([torch.zeros_like(codes[:, :ATTRIBUTE_ROW]), codes[:, ATTRIBUTE_ROW:]], 1)
    with torch.no_grad():
        seen = torch.cat([trained.attributes(trained.generator(part)[0])[:, 1] for part in plain.split(64)]).numpy()
    return np.where(was > 0.5, seen, 1 - seen) >= _SURE_OF_SEX


_USUAL_SHARE = 0.85
"""Quantile of the distances from the mean face that limits all distances. Beyond it are unusual light and make-up."""


def fit_mapping(
    codes: torch.Tensor,
    traits: torch.Tensor,
    bank: np.ndarray[Any, Any],
    parts: Sequence[int],
    separation: nn.Module | None = None,
) -> TargetMapping:
    """Make the mapping of a bank.

    Args:
        codes: (n, layers, w), W+ of faces; the linear model of the attribute row is fitted to all of them.
        traits: (n, 7), their attributes.
        bank: bool (n,), the faces that form the bank; all must be generated ones.
        parts: Numbers of rows after the attribute row that come from one person each, in order.
        separation: Makes the codes of the bank (people, layers, w) more distinct; None leaves them unchanged.

    Raises:
        ValueError: If the parts do not add up to the rows of W+.
    """
    rounded = round_traits(traits)
    if ATTRIBUTE_ROW + 1 + sum(parts) != codes.shape[1]:
        raise ValueError(
            f"parts must add up to {codes.shape[1] - ATTRIBUTE_ROW - 1} rows, not {' + '.join(map(str, parts))}."
        )
    mapping = TargetMapping(int(bank.sum()), parts, codes.shape[2])
    people = limit_distances(codes[bank])
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


def limit_distances(people: torch.Tensor) -> torch.Tensor:
    """Move people (n, layers, w) with unusual shape and texture towards the mean face, to the 85 % quantile."""
    own = people[:, ATTRIBUTE_ROW + 1 :]
    distance = own.flatten(1).norm(dim=1)
    scale = (distance.quantile(_USUAL_SHARE) / distance.clamp_min(1e-6)).clamp_max(1.0)
    return torch.cat([people[:, : ATTRIBUTE_ROW + 1], own * scale[:, None, None]], 1)
