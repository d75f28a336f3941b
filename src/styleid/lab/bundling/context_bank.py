"""The bank of generated people from which a context bundle's targets are drawn."""

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
from styleid.lab.networks.context_mapping import ContextMapping, trait_features
from styleid.lab.networks.targets import Z, round_traits
from styleid.lab.tasks.aam_fit import ridge
from styleid.lab.tasks.context_options import BankOptions
from styleid.pixel.guides import Part
from styleid.types import FloatArray

_READ_FROM = 8000
"""Number of faces for the linear map from w to the embedding."""
_READING_PENALTY = 1e-3
_LOOKS = np.array([1 / 30, *[1] * (1 + len(GROUPS))])
"""Factors that bring ages in years to the range of probabilities."""


def fit_context_bank(
    pack: ContextPack,
    shapes: Geometry,
    styles: Styles,
    appearance: AppearanceEncoder | None,
    options: BankOptions | None = None,
) -> tuple[ContextMapping, np.ndarray[Any, Any]]:
    """Choose the bank from a pack's generated faces, and make the mapping.

    Args:
        pack: The context pack.
        shapes: Maps landmarks to geometry rows.
        styles: Maps identity and appearance to w.
        appearance: Encodes the faces' appearance; None uses codes of 0.
        options: Options of the bank; None uses the defaults.

    Returns:
        The mapping, and the rows of the pack that form the bank.

    Raises:
        TrainingError: If no face of the pack can be in the bank.
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
    mapping.variety.copy_(options.variety * identity_directions(pack))
    mapping.centre.copy_(_centre(mapping.traits, styles, identity, codes))
    mapping.truncation.fill_(options.truncation)
    return mapping, rows


def identity_directions(pack: ContextPack) -> torch.Tensor:
    """Return directions (64, 128) of embeddings in which people of the same age, sex and group differ.

    They do not correlate with age, sex and group. A standard normal vector (64,) times the directions has an expected
    squared length of 1.
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
    """Choose the bank's people: generated faces without glasses that are not turned and not too similar.

    Args:
        pack: The context pack.
        options: Options of the bank.

    Returns:
        Their rows of the pack, the most frontal first, and their unit embeddings (n, 128).

    Raises:
        TrainingError: If there is no such face.
    """
    yaw = np.abs(geometry.expression(pack.landmarks68).yaw)
    able = np.nonzero(pack.is_target & (yaw < TURNED))[0]
    if len(able) == 0:
        raise TrainingError("The pack holds no generated face without glasses that looks ahead. Make a larger pack.")
    able = able[np.argsort(yaw[able], kind="stable")]
    embedding = torch.from_numpy(pack.embedding[able].astype(np.float32))
    embedding = functional.normalize(embedding - options.apart * embedding.mean(0))
    kept = keep_dissimilar(embedding.numpy(), options.most_alike)
    return able[kept], embedding[kept]


def keep_dissimilar(embedding: FloatArray, most_alike: float) -> np.ndarray[Any, Any]:
    """Choose embeddings of which no two are too similar.

    Args:
        embedding: (n, d), unit length. Earlier ones have priority.
        most_alike: Cosine similarity that no two may reach.

    Returns:
        Their indices, ascending.
    """
    alike = embedding @ embedding.T
    kept: list[int] = []
    for place in range(len(embedding)):
        if not kept or alike[place, kept].max() < most_alike:
            kept.append(place)
    return np.array(kept)


def inner_landmarks(pack: ContextPack, rows: np.ndarray[Any, Any], size_px: int = 160) -> torch.Tensor:
    """Return the landmarks of faces for crops of another side.

    Args:
        pack: The context pack.
        rows: (n,), the faces.
        size_px: Side of the crops in pixels.

    Returns:
        (n, 68, 2) in pixels of these crops.
    """
    scale = size_px / pack.template.size_px
    return (torch.from_numpy(pack.landmarks68[rows]) + 0.5) * scale - 0.5


def appearance_codes(pack: ContextPack, rows: np.ndarray[Any, Any], appearance: AppearanceEncoder) -> torch.Tensor:
    """Return the appearance codes of faces.

    Args:
        pack: The context pack.
        rows: (n,), the faces.
        appearance: The encoder.

    Returns:
        (n, k), each number in (-1, 1).
    """
    side = pack.template.size_px
    view, found = AppearanceView(side), []
    for part in np.array_split(rows, -(-len(rows) // 64)):
        crops = torch.from_numpy(pack.crops(part)).permute(0, 3, 1, 2).float() / 127.5 - 1
        visible = torch.from_numpy(np.stack([pack.labels(int(row)) == Part.FACE for row in part]))[:, None].float()
        with torch.no_grad():
            found.append(appearance(view(crops, functional.interpolate(visible, side, mode="nearest"))))
    return torch.cat(found)


def _centre(traits: torch.Tensor, styles: Styles, identity: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
    """Return the linear map (8, width) from `trait_features` to the mean w of such people."""
    with torch.no_grad():
        w = styles(identity, codes)[:, : styles.config.width].double()
    features = trait_features(traits).double()
    return torch.from_numpy(ridge(features.numpy(), w.numpy(), _READING_PENALTY)).float()


def _reading(pack: ContextPack, styles: Styles) -> torch.Tensor:
    """Return the linear map (width + 1, identity) from w to unit embeddings; the last row is the constant."""
    rows = np.linspace(0, len(pack) - 1, min(_READ_FROM, len(pack))).round().astype(int)
    identity = torch.from_numpy(pack.embedding[rows].astype(np.float32))
    with torch.no_grad():
        w = styles(identity, None)[:, : styles.config.width].numpy().astype(np.float64)
    inputs = np.concatenate([w, np.ones((len(w), 1))], 1)
    return torch.from_numpy(ridge(inputs, identity.numpy().astype(np.float64), _READING_PENALTY)).float()
