import numpy as np
import pytest

from styleid.ranking.curves import Orders, between, cost
from styleid.ranking.units import unit_tables

LINE = np.array([[0, 0, 0], [1, 1, 2], [2, 2, 4]], float)
IDENTITY_FIRST = np.array([[0, 0, 0], [2, 0, 1], [2, 2, 4]], float)
REST_FIRST = np.array([[0, 0, 0], [0, 2, 3], [2, 2, 4]], float)


@pytest.mark.parametrize(("curve", "expected"), [(LINE, 0.5), (IDENTITY_FIRST, 0), (REST_FIRST, 1)])
def test_cost_of_known_curves(curve, expected):
    assert cost(curve) == expected
    assert cost(np.stack([curve, curve])).tolist() == [expected] * 2


def test_cost_may_count_landmarks():
    assert cost(IDENTITY_FIRST, "landmarks") == pytest.approx(0.125)
    assert cost(np.zeros((3, 3))) == 0


def test_between_is_the_area_and_its_interval_holds_it():
    rng = np.random.default_rng(0)
    sizes = rng.uniform(0.5, 1.5, (40, 1, 1))
    curves = {"difference": sizes * IDENTITY_FIRST, "d_id": sizes * LINE, "random 1": sizes * LINE,
              "random 2": sizes * REST_FIRST}  # fmt: skip
    for baseline, expected in (("d_id", 0.5), ("random", 0.75)):
        apart = between(curves, "difference", baseline)
        assert apart.value == pytest.approx(expected)
        assert apart.low <= apart.value <= apart.high
    same = between(curves, "d_id", "d_id")
    assert (same.value, same.low, same.high) == (0, 0, 0)


def test_the_interval_widens_with_spread_and_repeats():
    rng = np.random.default_rng(0)
    noisy = LINE + np.pad(rng.normal(0, 0.3, (30, 1, 3)), ((0, 0), (1, 1), (0, 0)))
    curves = {"difference": np.repeat(LINE[None], 30, 0), "d_id": noisy}
    apart = between(curves, "difference", "d_id")
    assert apart.low < apart.value < apart.high
    assert between(curves, "difference", "d_id") == apart


def test_orders_swap_the_best_first_and_all_at_last():
    (table,) = unit_tables("channels", [4, 4], range(2))
    scores = {"difference": np.arange(8.0), "ratio": -np.arange(8.0), "d_id": np.ones(8)}
    orders = Orders.of(table, scores, seed=0)
    assert orders.ranks["difference"].tolist() == [7, 6, 5, 4, 3, 2, 1, 0]
    assert orders.ranks["d_id"].tolist() == list(range(8))
    swaps, inner = orders.swaps(), len(orders.counts) - 1
    assert swaps[0].tolist() == [7]
    assert [len(swap) for swap in swaps[:inner]] == list(orders.counts[:-1])
    assert swaps[inner].tolist() == [0]
    assert swaps[-1].tolist() == list(range(8))
    assert len(swaps) == len(orders.ranks) * inner + 1


def test_curves_begin_at_nothing_and_end_together():
    (table,) = unit_tables("layers", [2] * 5, range(5))
    orders = Orders.of(table, {name: np.arange(5.0) for name in ("difference", "ratio", "d_id")}, seed=0)
    values = np.random.default_rng(0).random((3, len(orders.swaps()), 3))
    curves = orders.curves(values)
    assert set(curves) == {"difference", "ratio", "d_id", "random 1", "random 2", "random 3"}
    for curve in curves.values():
        assert curve.shape == (3, len(orders.counts) + 1, 3)
        assert not curve[:, 0].any()
        assert np.array_equal(curve[:, -1], values[:, -1])
    assert np.array_equal(curves["ratio"][:, 1], values[:, len(orders.counts) - 1])
