"""Linkage with known results: pseudonyms, fresh faces, and one face for everybody."""

import numpy as np
import pytest

from styleid.evaluate.attacks.linkage import linkage
from tests.evaluate.crowd import crowd, strangers


def test_pseudonyms_are_linkable_and_fresh_faces_are_not():
    clear, people = crowd(80, 4, 0.02)
    assert linkage(clear, people).auc.value == pytest.approx(1.0, abs=1e-3)
    fresh = linkage(strangers(clear), people).auc
    assert fresh.value == pytest.approx(0.5, abs=0.05)
    assert fresh.count == 80 * 6


def test_strangers_are_taken_for_one_as_often_as_the_threshold_says():
    clear, people = crowd(300, 2, 0.5)
    fresh = strangers(clear)
    values = (fresh @ fresh.T)[people[:, None] != people[None, :]]
    found = linkage(fresh, people, float(np.quantile(values, 0.99)))
    assert found.strangers_accepted.value == pytest.approx(0.01, abs=2e-3)


def test_everybody_the_same_face_is_a_collapse():
    clear, people = crowd(30, 3, 0.1)
    same = np.zeros_like(clear)
    same[:, 0] = 1
    found = linkage(same, people, 0.5)
    assert found.strangers_accepted.value == 1.0
    assert found.auc.value == pytest.approx(0.5)


def test_what_is_not_there_tells_nothing_and_what_is_lost_everything():
    clear, people = crowd(40, 2, 0.02)
    nothing = np.full_like(clear, np.nan)
    assert linkage(nothing, people).auc.value == 0.5
    lost = np.zeros(len(people), bool)
    lost[:20] = True
    assert linkage(nothing, people, lost=lost).auc.value == pytest.approx((10 * 1.0 + 30 * 0.5) / 40)
