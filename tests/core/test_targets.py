"""Fresh targets: of several, the one that fits the head is taken."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from styleid.bundles.predictor import TRAITS, TraitPredictor
from styleid.core.targets import FreshTargets, best_fitting

SOURCE = np.float32([[40, 1, 0, 1, 0, 0, 0], [60, 0, 1, 0, 0, 0, 0]])
"""A woman of 40 and a man of 60, of different groups."""
GOOD = np.concatenate([SOURCE, np.zeros((2, 1), np.float32)], 1)


def bundle(predictor: bool = True) -> Any:
    """Return a stand-in whose targets are the first 8 numbers of z, and whose predictor repeats them as traits."""
    weights = np.zeros((2 * TRAITS, TRAITS), np.float32)
    weights[:TRAITS] = np.eye(TRAITS)
    return SimpleNamespace(
        sample=lambda z, attributes, source: z[:, :TRAITS],
        predictor=TraitPredictor(weights) if predictor else None,
        spec=SimpleNamespace(z=TRAITS),
    )


@pytest.mark.parametrize(
    ("trait", "off"),
    [(0, 30), (0, -30), (1, 0), (2, 0), (6, 0), (7, -0.5)],
    ids=["older", "younger", "other sex", "other group", "another group", "moustache"],
)
@pytest.mark.usefixtures("unchecked_types")
def test_targets_that_do_not_fit_are_passed_over(trait, off):
    z = np.repeat(GOOD[:, None], 3, 1)
    fits = z[:, [0, 2], trait]
    z[:, [0, 2], trait] = fits + off if off else 1 - fits
    chosen = best_fitting(bundle(), z, SOURCE, np.zeros((2, 1), np.float32))
    assert np.array_equal(chosen, GOOD)


@pytest.mark.usefixtures("unchecked_types")
def test_bright_lips_and_ties_take_the_first_candidate():
    z = np.repeat(GOOD[:, None], 3, 1)
    z[:, 0, 7] = 0.3
    assert np.array_equal(best_fitting(bundle(), z, SOURCE, np.zeros((2, 1), np.float32)), z[:, 0])


@pytest.mark.usefixtures("unchecked_types")
def test_without_a_predictor_the_first_target_is_taken():
    fresh, own = FreshTargets(5), np.zeros((2, 1), np.float32)
    drawn = fresh.draw(bundle(predictor=False), "a.jpg", [(0, 0), (1, 0)], 0, SOURCE, own)
    assert np.array_equal(drawn, np.stack([fresh.z("a.jpg", face, 0, TRAITS) for face in (0, 1)]))


@pytest.mark.usefixtures("unchecked_types")
def test_a_seed_fixes_which_candidate_a_face_gets():
    own = np.zeros((2, 1), np.float32)
    both = FreshTargets(5).draw(bundle(), "a.jpg", [(0, 0), (1, 0)], 0, SOURCE, own)
    second = FreshTargets(5).draw(bundle(), "a.jpg", [(1, 0)], 0, SOURCE[1:], own[1:])
    assert np.array_equal(both[1:], second), "a face's target does not depend on the other faces"
    assert not np.array_equal(both, FreshTargets(6).draw(bundle(), "a.jpg", [(0, 0), (1, 0)], 0, SOURCE, own))
    assert not np.array_equal(second, FreshTargets(5).draw(bundle(), "a.jpg", [(1, 1)], 0, SOURCE[1:], own[1:]))
