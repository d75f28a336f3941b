"""Distances between sets with known results."""

import numpy as np
import pytest

from styleid.evaluate.realism import frechet_distance, kernel_distance, realism
from tests.evaluate.crowd import crowd, strangers


def test_frechet_distance_of_shifted_and_scaled_sets():
    x = np.random.default_rng(0).standard_normal((4000, 3))
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-8)
    assert frechet_distance(x, x + np.array([1, 2, 0])) == pytest.approx(5, abs=1e-6)
    # deviations 1 and 3: (3 - 1)^2 in each of three directions
    assert frechet_distance(x, 3 * x) == pytest.approx(12, rel=0.05)


def test_kernel_distance_is_zero_on_average_for_one_source():
    rng = np.random.default_rng(1)
    same = [kernel_distance(*rng.standard_normal((2, 200, 8))) for _ in range(30)]
    assert abs(np.mean(same)) < 3 * np.std(same) / np.sqrt(30)
    assert kernel_distance(rng.standard_normal((200, 8)), rng.standard_normal((200, 8)) + 1) > 10 * np.std(same)


def test_everybody_the_same_is_far_from_everybody():
    clear, people = crowd(60, 3, 0.3)
    same = np.repeat(clear[:1], len(clear), 0)
    near, far = realism(clear, strangers(clear), people), realism(clear, same, people)
    for name in near:
        assert far[name].low > near[name].high
        assert near[name].low <= near[name].value <= near[name].high
        assert near[name].count == 180


def test_faces_that_are_not_there_are_left_out_and_counted():
    clear, people = crowd(60, 3, 0.3)
    shown = clear.copy()
    shown[::3] = np.nan
    found = realism(clear, shown, people)
    assert {one.count for one in found.values()} == {120}
    assert realism(clear[:30], shown[:30], people[:30]) == {}
