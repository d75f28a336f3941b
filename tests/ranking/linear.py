"""A linear generator and recogniser, for which every figure of a ranking is known."""

from dataclasses import dataclass

import numpy as np

from styleid.ranking.measure import Pairs
from styleid.ranking.metric import Readings

NUMBERS = 6
"""Numbers of the flat codes: two rows of three."""


@dataclass
class Linear:
    """Read codes: identity is codes @ who, attributes are codes @ what, landmarks move along x by codes @ where."""

    who: np.ndarray
    what: np.ndarray
    where: np.ndarray
    calls: int = 0

    def __call__(self, codes: np.ndarray) -> Readings:
        self.calls += 1
        points = np.repeat(neutral()[None], len(codes), 0)
        points[..., 0] += (codes @ self.where)[:, None]
        return Readings(codes @ self.who, codes @ self.what, points)


def neutral() -> np.ndarray:
    """Return 68 landmarks whose eyes' centres are 10 px apart."""
    points = np.zeros((68, 2))
    points[42:48, 0] = 10
    return points


def linear(seed: int = 0) -> Linear:
    rng = np.random.default_rng(seed)
    return Linear(rng.normal(size=(NUMBERS, 4)), rng.normal(size=(NUMBERS, 3)), rng.normal(size=NUMBERS))


def drawn(pairs: int, seed: int = 1) -> Pairs:
    sources, targets = np.random.default_rng(seed).normal(size=(2, pairs, NUMBERS)).astype(np.float32)
    return Pairs(sources, targets)
