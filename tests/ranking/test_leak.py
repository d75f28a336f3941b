import numpy as np
import pytest

from styleid.ranking.leak import FEWEST_PEOPLE, folds, leak

PEOPLE = 400


def _people():
    """Embeddings that are the codes themselves, of variances 4, 1, 1 and 0, with a number beside that says nothing."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(PEOPLE, 5)) * [2, 1, 1, 0, 1]


@pytest.mark.parametrize(("numbers", "share"), [([0], 4 / 6), ([1], 1 / 6), ([0, 2], 5 / 6), ([0, 1, 2, 4], 1)])
def test_leak_is_the_share_of_variance_that_a_unit_holds(numbers, share):
    codes = _people()
    assert leak(codes[:, numbers], codes[:, :4]) == pytest.approx(share, abs=0.03)


@pytest.mark.parametrize("numbers", [[4], [3]])
def test_what_tells_nothing_leaks_nothing(numbers):
    codes = _people()
    assert abs(leak(codes[:, numbers], codes[:, :4])) < 0.02


def test_scale_and_offset_of_values_do_not_matter():
    codes = _people()
    assert leak(codes[:, :2] * [100, 0.01] + 7, codes[:, :4]) == pytest.approx(leak(codes[:, :2], codes[:, :4]))


def test_many_useless_values_do_not_pass_for_knowledge():
    rng = np.random.default_rng(1)
    assert abs(leak(rng.normal(size=(60, 200)), rng.normal(size=(60, 8)))) < 0.05


def test_nobody_is_asked_about_whom_it_was_learnt_from():
    seen = np.zeros(23, int)
    for learnt, asked in folds(23, seed=3):
        assert not set(learnt) & set(asked)
        assert len(learnt) + len(asked) == 23
        seen[asked] += 1
    assert (seen == 1).all()


def test_too_few_people_are_refused():
    with pytest.raises(ValueError, match="too few"):
        leak(np.zeros((FEWEST_PEOPLE - 1, 1)), np.zeros((FEWEST_PEOPLE - 1, 2)))


def test_all_alike_leaks_nothing():
    assert leak(np.ones((20, 2)), np.ones((20, 3))) == 0
