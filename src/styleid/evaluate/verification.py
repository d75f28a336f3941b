"""Verification and identification with embeddings: thresholds, acceptance rates, ranks.

Convention
----------
Embeddings are float32 (n, d) of unit length; similarity is the cosine, distance the Euclidean distance of unit vectors
(sqrt(2 - 2 cos)). A face that could not be embedded is a row of NaN: it matches nothing, and stays in every count.
"""

from __future__ import annotations

from typing import Any

import numpy as np

FloatArray = np.ndarray[Any, Any]


def similarity_to_distance(similarity: FloatArray) -> FloatArray:
    """Convert cosine similarities to Euclidean distances of unit vectors."""
    return np.sqrt(np.maximum(2 - 2 * similarity, 0))


def impostor_similarities(embeddings: FloatArray, people: FloatArray) -> FloatArray:
    """Return the similarities of all pairs of different people.

    Args:
        embeddings: (n, d) unit vectors; rows with NaN are left out.
        people: The person of each, (n,).
    """
    similarity = embeddings @ embeddings.T
    upper = np.triu(np.ones(similarity.shape, bool), 1)
    values = similarity[upper & (people[:, None] != people[None, :])]
    return values[np.isfinite(values)]


def threshold_at_fmr(impostors: FloatArray, fmr: float) -> float:
    """Return the similarity above which the share `fmr` of impostor pairs lies.

    Args:
        impostors: Similarities of pairs of different people.
        fmr: False-match rate, in (0, 1).

    Raises:
        ValueError: There are fewer than 30 / fmr pairs, too few for this rate.
    """
    if len(impostors) * fmr < 30:
        given, needed = len(impostors), 30 / fmr
        raise ValueError(f"{given} impostor pairs are too few for a threshold at FMR {fmr:g}; {needed:.0f} are needed.")
    return float(np.quantile(impostors, 1 - fmr))


def best_mated_similarity(
    probes: FloatArray,
    probe_people: FloatArray,
    gallery: FloatArray,
    gallery_people: FloatArray,
    *,
    exclude_same_row: bool,
) -> FloatArray:
    """Return the highest similarity of each probe to gallery photos of the same person; NaN if there are none.

    exclude_same_row: leave out the gallery photo in the same row as the probe, which is its own original.
    """
    similarity = np.where(np.isfinite(probes @ gallery.T), probes @ gallery.T, -np.inf)
    mated = probe_people[:, None] == gallery_people[None, :]
    if exclude_same_row:
        mated &= ~np.eye(*mated.shape, dtype=bool)
    best = np.where(mated, similarity, -np.inf).max(1)
    return np.where(mated.any(1), best, np.nan)


def rank_one(
    probes: FloatArray, probe_people: FloatArray, gallery: FloatArray, gallery_people: FloatArray
) -> FloatArray:
    """Return for each probe 1.0 if the most similar gallery photo shows the same person, else 0.0."""
    similarity = probes @ gallery.T
    similarity = np.where(np.isfinite(similarity), similarity, -np.inf)
    found = gallery_people[similarity.argmax(1)] == probe_people
    return (found & np.isfinite(similarity.max(1))).astype(np.float64)
