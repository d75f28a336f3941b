"""How much of who somebody is a unit's own values tell.

A ridge regression learns, on some people, the identity embedding of a face from the values that a unit has in its codes
alone, and is asked about other people: the explained variance is the unit's leak. A unit that leaks little may be kept.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, Int

FOLDS = 5
FEWEST_PEOPLE = 2 * FOLDS
_PENALTIES = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
"""Ridge penalties by the number of people learnt from; generalised cross-validation among those chooses."""


def leak(values: Float[np.ndarray, "people k"], embeddings: Float[np.ndarray, "people d"], seed: int = 0) -> float:
    """Return the share of the embeddings' variance that values explain on held-out people.

    values: (people, k), one face of each; embeddings: (people, d). 0 is nothing, 1 everything; a little below 0 is
    chance. Each fifth of the people, drawn by the seed, is asked about once. Raises ValueError for fewer than ten.
    """
    missed = total = 0.0
    for learnt, asked in folds(len(values), seed):
        guess = _ridge(values[learnt], embeddings[learnt], values[asked])
        missed += float(((guess - embeddings[asked]) ** 2).sum())
        total += float(((embeddings[learnt].mean(0) - embeddings[asked]) ** 2).sum())
    return 1 - missed / total if total > 0 else 0.0


def folds(people: int, seed: int) -> Iterator[tuple[Int[np.ndarray, " learnt"], Int[np.ndarray, " asked"]]]:
    """Yield whom to learn from and whom to ask about, for each fifth of the people."""
    if people < FEWEST_PEOPLE:
        raise ValueError(f"{people} people are too few to learn from some and ask about others: take {FEWEST_PEOPLE}.")
    parts = np.array_split(np.random.default_rng(seed).permutation(people), FOLDS)
    for k, asked in enumerate(parts):
        yield np.concatenate([part for j, part in enumerate(parts) if j != k]), asked


def _ridge(
    inputs: Float[np.ndarray, "n k"], outputs: Float[np.ndarray, "n d"], asked: Float[np.ndarray, "m k"]
) -> Float[np.ndarray, "m d"]:
    """Return what a ridge regression from inputs (n, k) to outputs (n, d) says of asked (m, k)."""
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
