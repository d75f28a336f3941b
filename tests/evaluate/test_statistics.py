"""Sums can be merged, and intervals cover the true value."""

import math

import numpy as np
import pytest

from styleid.evaluate.statistics import Sums, estimate

pytestmark = pytest.mark.versions


def test_parts_merge_to_the_whole():
    rng = np.random.default_rng(0)
    values, people = rng.random(500), rng.integers(0, 40, 500).astype(str)
    whole = Sums.of(values, people)
    merged = Sums.merged([Sums.of(values[part], people[part]) for part in np.array_split(np.arange(500), 7)])
    assert whole.people.tolist() == merged.people.tolist()
    np.testing.assert_allclose(whole.totals, merged.totals)
    assert whole.counts.tolist() == merged.counts.tolist()
    assert merged.value == pytest.approx(values.mean())
    assert merged.count == 500


def test_nothing_has_no_value():
    none = estimate(Sums.merged([]))
    assert math.isnan(none.value)
    assert none.to_json() == {"value": None, "low": None, "high": None, "count": 0, "people": 0}


def test_values_that_are_not_numbers_are_refused():
    with pytest.raises(ValueError, match="finite"):
        Sums.of([0.0, float("nan")], ["a", "b"])


def test_intervals_cover_the_truth_about_as_often_as_they_say():
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(200):
        rates = rng.beta(2, 3, 60)
        hits = rng.random((60, 4)) < rates[:, None]
        one = estimate(Sums.of(hits.reshape(-1).astype(float), np.repeat(np.arange(60), 4)))
        covered += one.low <= 0.4 <= one.high
    assert 0.9 <= covered / 200 <= 0.99


def test_photos_of_one_person_do_not_count_as_many_people():
    people = np.repeat(np.arange(20), 50)
    values = (people % 2).astype(float)
    one = estimate(Sums.of(values, people))
    assert one.high - one.low > 0.3
    assert (one.count, one.people) == (1000, 20)


@pytest.mark.parametrize(("value", "low", "high"), [(0.0, 0.0, 1 - 0.05**0.01), (1.0, 0.05**0.01, 1.0)])
def test_none_or_all_of_a_hundred_people_still_leaves_doubt(value, low, high):
    one = estimate(Sums.of(np.full(300, value), np.repeat(np.arange(100), 3)))
    assert (one.value, one.low, one.high) == pytest.approx((value, low, high))
