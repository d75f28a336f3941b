"""The leak of a unit: how much of a person's identity its own values reveal.

A ridge regression learns, on some people, to predict the identity embedding of a face from the unit's values in its
latent code. The share of variance that it explains on other people is the unit's leak.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, Int

FOLDS = 5
"""Number of folds of the cross-validation."""
FEWEST_PEOPLE = 2 * FOLDS
"""Least number of people."""
_PENALTIES = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
"""Ridge penalties per person in the training set, from which generalised cross-validation chooses."""


def leak(values: Float[np.ndarray, "people k"], embeddings: Float[np.ndarray, "people d"], seed: int = 0) -> float:
    """Return the share of the embeddings' variance that values explain on held-out people.

    Args:
        values: The unit's values in one face of each person, (people, k).
        embeddings: Identity embeddings of the faces, (people, d).
        seed: Divides the people into folds.

    Returns:
        0 for nothing to 1 for everything; slightly negative values mean nothing, too.

    Raises:
        ValueError: If there are fewer than ten people.
    """
    missed = total = 0.0
    for train, test in folds(len(values), seed):
        guess = _ridge(values[train], embeddings[train], values[test])
        missed += float(((guess - embeddings[test]) ** 2).sum())
        total += float(((embeddings[train].mean(0) - embeddings[test]) ** 2).sum())
    return 1 - missed / total if total > 0 else 0.0


def folds(people: int, seed: int) -> Iterator[tuple[Int[np.ndarray, " train"], Int[np.ndarray, " test"]]]:
    """Yield the people of the training set and of the test set of each fold.

    Args:
        people: Number of people.
        seed: Divides the people into folds.

    Raises:
        ValueError: If there are fewer than ten people.
    """
    if people < FEWEST_PEOPLE:
        raise ValueError(f"{people} people are too few for {FOLDS} folds; at least {FEWEST_PEOPLE} are needed.")
    parts = np.array_split(np.random.default_rng(seed).permutation(people), FOLDS)
    for k, test in enumerate(parts):
        yield np.concatenate([part for j, part in enumerate(parts) if j != k]), test


def _ridge(
    inputs: Float[np.ndarray, "n k"], outputs: Float[np.ndarray, "n d"], asked: Float[np.ndarray, "m k"]
) -> Float[np.ndarray, "m d"]:
    """Fit a ridge regression from inputs to outputs, and return its predictions for asked."""
    centre, mean = inputs.mean(0, dtype=np.float64), outputs.mean(0, dtype=np.float64)
    deviation = inputs.std(0, dtype=np.float64)
    moving = deviation > 1e-9
    scale = np.where(moving, deviation, 1.0)
    x, y = (inputs - centre) / scale * moving, outputs - mean
    u, s, vt = np.linalg.svd(x, full_matrices=False)
    seen, n = u.T @ y, len(x)
    outside = float((y**2).sum() - (seen**2).sum())
    best, best_error = None, np.inf
    for penalty in _PENALTIES:
        shrunk = s**2 / (s**2 + penalty * n)
        error = (outside + float((((1 - shrunk)[:, None] * seen) ** 2).sum())) / (n - 1 - shrunk.sum()) ** 2
        if error < best_error:
            best, best_error = s / (s**2 + penalty * n), error
    assert best is not None
    return ((asked - centre) / scale * moving) @ vt.T @ (best[:, None] * seen) + mean
