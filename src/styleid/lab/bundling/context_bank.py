"""The bank of people who never lived that a context bundle's targets are: who serves, and as what."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch.nn import functional

from styleid.errors import TrainingError
from styleid.faces import geometry
from styleid.lab.data.context_pack import TURNED, ContextPack
from styleid.lab.data.pack import GROUPS
from styleid.lab.networks.appearance_encoder import AppearanceEncoder, AppearanceView
from styleid.lab.networks.context_bundle import Geometry, Styles
from styleid.lab.networks.context_mapping import ContextMapping, told_by_traits
from styleid.lab.networks.targets import Z, round_traits
from styleid.lab.tasks.aam_fit import ridge
from styleid.lab.tasks.context_options import BankOptions
from styleid.pixel.guides import Part
from styleid.types import FloatArray

_READ_FROM = 8000
"""Faces by which an embedding is read off w."""
_READING_PENALTY = 1e-3
_LOOKS = np.array([1 / 30, *[1] * (1 + len(GROUPS))])
"""What brings ages in years to the size of shares."""


def fit_context_bank(
    pack: ContextPack,
    shapes: Geometry,
    styles: Styles,
    appearance: AppearanceEncoder | None,
    options: BankOptions | None = None,
) -> tuple[ContextMapping, np.ndarray[Any, Any]]:
    """Choose the people of a pack that serve, and make the mapping of them; also return their rows of the pack.

    appearance: encodes their faces; None leaves the codes 0. Raises TrainingError where nobody serves.
    """
    options = options or BankOptions()
    rows, identity = chosen_people(pack, options)
    codes = torch.zeros(len(rows), styles.config.appearance)
    if appearance is not None:
        codes = appearance_codes(pack, rows, appearance)
    people = torch.cat([shapes.read(inner_landmarks(pack, rows)), identity, codes], 1)
    mapping = ContextMapping(len(rows), shapes.numbers, styles)
    scale = people.abs().amax(0).clamp_min(1e-6) / 127
    mapping.people_scale.copy_(scale)
    mapping.people_q.copy_((people / scale).round().to(torch.int8))
    mapping.traits.copy_(round_traits(torch.from_numpy(pack.known_looks()[rows])))
    mapping.reading.copy_(_reading(pack, styles))
    mapping.variety.copy_(options.variety * ways_to_differ(pack))
    mapping.centre.copy_(_centre(mapping.traits, styles, identity, codes))
    mapping.truncation.fill_(options.truncation)
    return mapping, rows


def ways_to_differ(pack: ContextPack) -> torch.Tensor:
    """Return directions (64, 128) in which people of one age, sex and group differ, and none that tells these.

    Normal numbers times them have the usual squared length 1.
    """
    looks = pack.known_looks().astype(np.float64) * _LOOKS
    every = pack.embedding.astype(np.float64)
    telling = ridge(every - every.mean(0), looks - looks.mean(0), _READING_PENALTY)
    telling = np.linalg.svd(telling, full_matrices=False)[0]
    people = np.nonzero(pack.is_target)[0]
    known = np.concatenate([looks[people], np.ones((len(people), 1))], 1)
    own = every[people] - known @ ridge(known, every[people], _READING_PENALTY)
    own = own - own @ telling @ telling.T
    _, size, ways = np.linalg.svd(own, full_matrices=False)
    found = torch.zeros(Z, every.shape[1])
    found[: len(ways[:Z])] = torch.from_numpy(size[:Z, None] * ways[:Z])
    return found / found.norm().clamp_min(1e-6)


def chosen_people(pack: ContextPack, options: BankOptions) -> tuple[np.ndarray[Any, Any], torch.Tensor]:
    """Return rows of a pack, those seen most from the front first, and unit embeddings (n, 128); no two are alike."""
    yaw = np.abs(geometry.expression(pack.landmarks68).yaw)
    able = np.nonzero(pack.is_target & (yaw < TURNED))[0]
    if len(able) == 0:
        raise TrainingError("The pack holds nobody who never lived, wears no glasses and looks ahead.")
    able = able[np.argsort(yaw[able], kind="stable")]
    embedding = torch.from_numpy(pack.embedding[able].astype(np.float32))
    embedding = functional.normalize(embedding - options.apart * embedding.mean(0))
    kept = unlike(embedding.numpy(), options.most_alike)
    return able[kept], embedding[kept]


def unlike(embedding: FloatArray, most_alike: float) -> np.ndarray[Any, Any]:
    """Return the places of people of whom no two are as alike as that; of two that are, the first stays."""
    alike = embedding @ embedding.T
    kept: list[int] = []
    for place in range(len(embedding)):
        if not kept or alike[place, kept].max() < most_alike:
            kept.append(place)
    return np.array(kept)


def inner_landmarks(pack: ContextPack, rows: np.ndarray[Any, Any], size_px: int = 160) -> torch.Tensor:
    """Return faces' landmarks (n, 68, 2) in pixels of crops of size_px that show what the pack's do."""
    scale = size_px / pack.template.size_px
    return (torch.from_numpy(pack.landmarks68[rows]) + 0.5) * scale - 0.5


def appearance_codes(pack: ContextPack, rows: np.ndarray[Any, Any], appearance: AppearanceEncoder) -> torch.Tensor:
    """Return faces' appearance codes, (n, numbers)."""
    side = pack.template.size_px
    view, found = AppearanceView(side), []
    for part in np.array_split(rows, -(-len(rows) // 64)):
        crops = torch.from_numpy(pack.crops(part)).permute(0, 3, 1, 2).float() / 127.5 - 1
        visible = torch.from_numpy(np.stack([pack.labels(int(row)) == Part.FACE for row in part]))[:, None].float()
        with torch.no_grad():
            found.append(appearance(view(crops, functional.interpolate(visible, side, mode="nearest"))))
    return torch.cat(found)


def _centre(traits: torch.Tensor, styles: Styles, identity: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
    """Return the matrix (8, width) that tells people's mean w from their traits."""
    with torch.no_grad():
        w = styles(identity, codes)[:, : styles.config.width].double()
    told = told_by_traits(traits).double()
    return torch.from_numpy(ridge(told.numpy(), w.numpy(), _READING_PENALTY)).float()


def _reading(pack: ContextPack, styles: Styles) -> torch.Tensor:
    """Return the matrix (width + 1, identity) that tells unit embeddings from w."""
    rows = np.linspace(0, len(pack) - 1, min(_READ_FROM, len(pack))).round().astype(int)
    identity = torch.from_numpy(pack.embedding[rows].astype(np.float32))
    with torch.no_grad():
        w = styles(identity, None)[:, : styles.config.width].numpy().astype(np.float64)
    told = np.concatenate([w, np.ones((len(w), 1))], 1)
    return torch.from_numpy(ridge(told, identity.numpy().astype(np.float64), _READING_PENALTY)).float()
