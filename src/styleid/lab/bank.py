"""The bank of synthetic people that the appearance model's targets are made of: who serves, and as what."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from styleid.lab.aam import ATTRIBUTE_ROW, AAMConfig
from styleid.lab.aam_fit import face_visibility
from styleid.lab.pack import Pack
from styleid.lab.targets import TargetMapping, fit_mapping
from styleid.lab.trained import Trained

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


def fit_bank(pack: Pack, faces: ReadFaces, trained: Trained, spread: nn.Module | None = None) -> TargetMapping:
    """Choose the synthetic people of a pack that serve, and make the mapping of them.

    spread: sets their codes (people, layers, w) further apart, as `styleid.lab.spread` learns to.
    """
    nobody = pack.synthetic & ~pack.held_out
    bank = nobody & (faces.bare >= np.quantile(faces.bare[nobody], _HIDDEN_SHARE))
    bank[bank] = _look_their_sex(faces, bank, trained)
    return fit_mapping(faces.codes, faces.traits, bank, parts_of(trained.model.config), spread)


def parts_of(config: AAMConfig) -> tuple[int, ...]:
    """Return how many rows of a target come of one person each: halves of the shape, texture from coarse to fine."""
    shape, texture = config.shape_rows // 2, config.texture_rows // 8
    return config.shape_rows - shape, shape, texture, texture, 2 * texture, config.texture_rows - 4 * texture


def _look_their_sex(faces: ReadFaces, chosen: np.ndarray, trained: Trained) -> np.ndarray:
    """Return which of the chosen faces are seen as of their sex when they are drawn from the front, bool (n,)."""
    codes, was = faces.codes[chosen], faces.traits[chosen][:, 1].numpy()
    plain = torch.cat([torch.zeros_like(codes[:, :ATTRIBUTE_ROW]), codes[:, ATTRIBUTE_ROW:]], 1)
    with torch.no_grad():
        seen = torch.cat([trained.attributes(trained.generator(part)[0])[:, 1] for part in plain.split(64)]).numpy()
    return np.where(was > 0.5, seen, 1 - seen) >= _SURE_OF_SEX
