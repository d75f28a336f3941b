"""Every group holds at least k people, everybody is in one, and the same people are grouped the same way."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from styleid.people.groups import group_people, person_features


def attributes(draw: np.random.Generator, count: int) -> np.ndarray:
    tones = draw.dirichlet(np.ones(5), count)
    return np.concatenate([draw.uniform(1, 90, (count, 1)), draw.random((count, 1)), tones], 1).astype(np.float32)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 80), st.integers(1, 12), st.booleans())
def test_no_group_is_below_k_and_everybody_is_in_one(seed, count, k, alike):
    draw = np.random.default_rng(seed)
    features = person_features(attributes(draw, count))
    if alike:
        features[:] = features[:1]
    if 0 < count < k:
        with pytest.raises(ValueError, match=f"{count} people cannot"):
            group_people(features, k)
        return
    groups = group_people(features, k)
    assert len(groups) == count
    sizes = np.bincount(groups) if count else np.zeros(0, int)
    assert (sizes >= k).all()
    assert (sizes < 2 * k).all()
    assert group_people(features.copy(), k) == groups


def test_people_who_are_alike_share_a_group():
    draw = np.random.default_rng(5)
    men, women = attributes(draw, 12), attributes(draw, 12)
    men[:, 1], women[:, 1] = 0.1, 0.9
    mixed = np.concatenate([men, women])[order := draw.permutation(24)]
    groups = np.array(group_people(person_features(mixed), 4))
    for group in range(6):
        assert len({bool(i < 12) for i in order[groups == group]}) == 1


def test_k_of_nobody_is_no_error_and_k_of_nothing_is():
    assert group_people(np.zeros((0, 7)), 5) == []
    with pytest.raises(ValueError, match="groups of 0"):
        group_people(np.zeros((3, 7)), 0)
