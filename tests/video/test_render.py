"""What fails is hidden, with soft transitions, and so is the little that lies between two failures."""

import pytest

from styleid.video.render import hiding


def shares(failing, frames, fade=4, merge=10):
    return [hiding(failing, i, fade, merge)[0] for i in frames]


def test_transitions_rise_and_fall():
    assert shares([10], range(4, 17)) == pytest.approx([0, 0, 0.2, 0.4, 0.6, 0.8, 1, 0.8, 0.6, 0.4, 0.2, 0, 0])


def test_what_lies_between_two_failures_is_hidden_too():
    assert shares([10, 20], range(10, 21)) == [1.0] * 11
    assert hiding([10, 20], 14, 4, 10) == (1.0, 10)
    assert min(shares([10, 22], range(10, 23))) == 0


def test_nothing_is_hidden_where_nothing_fails():
    assert shares([], range(5)) == [0.0] * 5
