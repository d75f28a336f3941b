import numpy as np
import pytest

from styleid.ranking import metric
from styleid.ranking.measure import MeasuredSwaps, Pairs, measure
from styleid.ranking.metric import Readings
from tests.ranking.linear import NUMBERS, drawn, linear, neutral

SWAPS = [np.array([0]), np.array([3, 4]), np.arange(NUMBERS)]


def test_changes_are_those_of_the_linear_model():
    model, pairs = linear(), drawn(5)
    measured = MeasuredSwaps.empty(5, len(SWAPS))
    measure(pairs, SWAPS, model, measured, batch=4)
    step = (pairs.targets - pairs.sources).astype(np.float64)
    for k, members in enumerate(SWAPS):
        moved = step[:, members]
        expected = [
            np.linalg.norm(moved @ model.who[members], axis=1),
            np.linalg.norm(moved @ model.what[members], axis=1),
            np.abs(moved @ model.where[members]) / 10,
        ]
        assert np.allclose(measured.values[:, k].T, expected, atol=1e-4)
    assert measured.complete


def test_each_face_has_its_own_norm():
    points = np.repeat(neutral()[None], 2, 0)
    before = Readings(np.zeros((2, 2)), np.zeros((2, 2)), points)
    after = Readings(np.array([[3.0, 0], [0, 4]]), np.array([[0, 1.0], [0, 0]]), points)
    found = metric.changes(before, after)
    assert found[:, 0].tolist() == [3, 4]  # one norm over the batch would be 5
    assert found[:, 1].tolist() == [1, 0]


def test_min_max_is_one_for_the_whole_table():
    table = np.array([[0.0, 1], [2, 4], [np.nan, 3]])
    assert np.array_equal(metric.min_max(table), table / 4, equal_nan=True)
    assert metric.min_max(np.full((2, 2), 7.0)).tolist() == [[0, 0], [0, 0]]


def test_scores_by_hand():
    d_id, d_attr = np.array([0.0, 0.5, 1.0]), np.array([2.0, 0.0, 1.0])
    assert metric.difference(d_id, d_attr).tolist() == [-1, 0.5, 0.5]
    assert np.allclose(metric.ratio(d_id, d_attr), [0, 500, 1 / 1.001])


def test_what_changes_nothing_is_no_good_unit():
    assert metric.ratio(np.zeros(1), np.zeros(1)).tolist() == [0]


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [([1, 2, 3, 4], [10, 20, 30, 99], 1), ([1, 2, 3], [3, 2, 1], -1), ([1, 2, 2, 3], [1, 2, 3, 4], 0.9486833),
     ([1, 2, np.nan], [1, 2, 0], 1)],
)  # fmt: skip
def test_spearman(a, b, expected):
    assert metric.spearman(np.array(a, float), np.array(b, float)) == pytest.approx(expected)


def test_spearman_agrees_with_scipy():
    stats = pytest.importorskip("scipy.stats")
    a, b = np.random.default_rng(0).integers(0, 9, (2, 50)).astype(float)
    assert metric.spearman(a, b) == pytest.approx(stats.spearmanr(a, b).statistic)


def test_a_broken_run_goes_on_to_the_same_result():
    whole, parts = MeasuredSwaps.empty(4, len(SWAPS)), MeasuredSwaps.empty(4, len(SWAPS))
    measure(drawn(4), SWAPS, linear(), whole, batch=5)

    class KilledError(Exception): ...

    def kill():
        raise KilledError

    for _ in range(2):
        with pytest.raises(KilledError):
            measure(drawn(4), SWAPS, linear(), parts, batch=5, after_batch=kill)
    assert parts.done == 10
    assert np.isnan(parts.values.reshape(-1, 3)[10:]).all()
    measure(drawn(4), SWAPS, linear(), parts, batch=5)
    assert np.array_equal(parts.values, whole.values)


def test_a_complete_table_costs_nothing():
    model, measured = linear(), MeasuredSwaps.empty(2, 1)
    measure(drawn(2), SWAPS[:1], model, measured, batch=2)
    calls = model.calls
    measure(drawn(2), SWAPS[:1], model, measured, batch=2)
    assert model.calls == calls


def test_sources_are_left_as_they_are():
    pairs = drawn(3)
    kept = Pairs(pairs.sources.copy(), pairs.targets.copy())
    measure(pairs, SWAPS, linear(), MeasuredSwaps.empty(3, len(SWAPS)), batch=2)
    assert np.array_equal(pairs.sources, kept.sources)
    assert np.array_equal(pairs.targets, kept.targets)
