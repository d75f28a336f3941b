"""A reversible method is reversed, by learning from other people's pairs only."""

import numpy as np
import pytest

from styleid.evaluate.attacks.trained import Sides
from styleid.evaluate.reversal import restore


@pytest.fixture
def pairs() -> tuple[np.ndarray, np.ndarray, Sides]:
    """Clear pictures of twelve numbers behind 300 pixels, and whose they are."""
    rng = np.random.default_rng(0)
    basis = rng.standard_normal((12, 300))
    people = np.repeat([f"p{i:02d}" for i in range(60)], 4)
    clear = 0.5 + 0.03 * rng.standard_normal((240, 12)) @ basis
    return clear, people, Sides.of(people, 0, 0.7)


def error(restored: np.ndarray, clear: np.ndarray, rows: np.ndarray) -> float:
    return float(((restored - clear)[rows] ** 2).mean() / clear[rows].var(0).mean())


def test_a_shuffle_of_pixels_is_undone(pairs):
    clear, _, sides = pairs
    shuffled = clear[:, np.random.default_rng(1).permutation(300)]
    restored, how = restore(clear, shuffled, np.ones(240, bool), sides)
    assert error(restored, clear, sides.attack) < 0.01
    assert how["pairs"] == int((sides.learn | sides.check).sum())


def test_what_is_gone_is_not_restored(pairs):
    clear, _, sides = pairs
    noise = np.random.default_rng(2).random(clear.shape)
    restored, _ = restore(clear, noise, np.ones(240, bool), sides)
    assert error(restored, clear, sides.attack) > 0.5


def test_behind_solid_boxes_everybody_becomes_the_mean(pairs):
    clear, _, sides = pairs
    restored, _ = restore(clear, np.full_like(clear, 0.5), np.ones(240, bool), sides)
    assert np.ptp(restored, axis=0).max() < 1e-6


def test_the_attacked_are_not_learnt_from(pairs):
    clear, _, sides = pairs
    shuffled = clear[:, np.random.default_rng(1).permutation(300)]
    whole, _ = restore(clear, shuffled, np.ones(240, bool), sides)
    other = clear.copy()
    other[sides.attack] = 0.5
    changed, _ = restore(other, shuffled, np.ones(240, bool), sides)
    np.testing.assert_allclose(changed, whole, atol=1e-9)
