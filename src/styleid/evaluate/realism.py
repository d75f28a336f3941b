"""Distances between the set of anonymised faces and the set of originals, in the features of a recogniser.

The features are embeddings of a recogniser, not of Inception. The distances show how well the variety of faces is kept.
They can only be compared with distances of the same recogniser over the same number of faces.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from styleid.evaluate.statistics import Estimate

FloatArray = np.ndarray[Any, Any]
_GROUPS = 20
_WIDTH = 2.09
_BLOCK = 1000
"""_WIDTH: half the width of a 95 % interval in standard errors, by Student's t with _GROUPS - 1 degrees of freedom."""


def frechet_distance(one: FloatArray, other: FloatArray) -> float:
    """Return the Fréchet distance of two sets of features, (n, d) and (m, d), modelled as Gaussians."""
    covariances = [np.atleast_2d(np.cov(part, rowvar=False)) for part in (one, other)]
    values, vectors = np.linalg.eigh(covariances[0])
    root = (vectors * np.sqrt(values.clip(min=0))) @ vectors.T
    cross = np.linalg.eigvalsh(root @ covariances[1] @ root).clip(min=0)
    gap = one.mean(0) - other.mean(0)
    return float(gap @ gap + np.trace(covariances[0]) + np.trace(covariances[1]) - 2 * np.sqrt(cross).sum())


def kernel_distance(one: FloatArray, other: FloatArray) -> float:
    """Return the unbiased squared kernel distance (Binkowski et al. 2018) with the kernel (x.y + 1)^3."""
    one, other = one[:_BLOCK], other[:_BLOCK]
    within = [((part @ part.T + 1) ** 3, len(part)) for part in (one, other)]
    inner = sum((k.sum() - np.trace(k)) / (n * (n - 1)) for k, n in within)
    return float(inner - 2 * ((one @ other.T + 1) ** 3).mean())


def realism(clear: FloatArray, shown: FloatArray, people: FloatArray) -> dict[str, Estimate]:
    """Return both distances, over the faces that could be measured in both sets.

    The 95 % intervals come from a jackknife that leaves out groups of people. A bootstrap would repeat faces, which
    changes both distances.

    Args:
        clear: Embeddings of the originals, (n, d).
        shown: Embeddings of the outputs, (n, d); NaN for faces that are missing.
        people: The person of each face, (n,).

    Returns:
        The distances by name; an empty dict if there are too few people.
    """
    there = np.isfinite(shown).all(1) & np.isfinite(clear).all(1)
    clear, shown, people = clear[there].astype(np.float64), shown[there].astype(np.float64), people[there]
    names, whose = np.unique(people, return_inverse=True)
    if len(names) < 2 * _GROUPS:
        return {}
    group = np.random.default_rng(0).permutation(np.arange(len(names)) % _GROUPS)[whose]
    found = {}
    for name, measure in _MEASURES.items():
        value = measure(clear, shown)
        without = np.array([measure(clear[group != g], shown[group != g]) for g in range(_GROUPS)])
        error = math.sqrt((_GROUPS - 1) / _GROUPS * float(((without - without.mean()) ** 2).sum()))
        found[name] = Estimate(value, value - _WIDTH * error, value + _WIDTH * error, len(people), len(names))
    return found


_MEASURES: dict[str, Callable[[FloatArray, FloatArray], float]] = {
    "Frechet distance": frechet_distance,
    "kernel distance": kernel_distance,
}
