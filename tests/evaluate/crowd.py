"""Synthetic people: several embeddings of each, with a known recognition rate."""

import numpy as np

DIMENSIONS = 32


def crowd(people: int, each: int, spread: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return unit embeddings of people with several photos each, and whose they are.

    spread: of a person's photos about their mean; the means are spread by 1.
    """
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((people, 1, DIMENSIONS))
    x = (centres + spread * rng.standard_normal((people, each, DIMENSIONS))).reshape(-1, DIMENSIONS)
    return units(x), np.repeat(np.array([f"p{i:04d}" for i in range(people)]), each)


def units(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def strangers(embeddings: np.ndarray, seed: int = 5) -> np.ndarray:
    """Faces of nobody: directions drawn afresh for every photo."""
    return units(np.random.default_rng(seed).standard_normal(embeddings.shape))


def turned(embeddings: np.ndarray) -> np.ndarray:
    """Hide embeddings behind a rotation, which keeps everything for who knows it."""
    return embeddings @ np.linalg.qr(np.random.default_rng(9).standard_normal((DIMENSIONS, DIMENSIONS)))[0]


def leaking(embeddings: np.ndarray, share: float, seed: int = 3) -> np.ndarray:
    """Copy a share of the rows, at random, and make strangers of the rest."""
    copied = np.zeros(len(embeddings), bool)
    copied[np.random.default_rng(seed).permutation(len(embeddings))[: round(share * len(embeddings))]] = True
    return np.where(copied[:, None], embeddings, strangers(embeddings))
