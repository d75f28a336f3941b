"""`--units` by ranking."""

from types import SimpleNamespace

import numpy as np
import pytest

from styleid.bundles.steps import SwapStep
from styleid.core.units import best_units
from styleid.errors import OptionError

NAN = np.nan
SCORES = {
    "channels": np.array([[0, 9, 1, 2], [8, 3, 4, 7], [5, 6, 0, 0]], float),
    "channels@ratio": np.arange(12.0).reshape(3, 4),
    "channels@d_attr": np.arange(12.0).reshape(3, 4),
    "groups": np.array([[0, 3], [1, NAN], [2, 0]], float),
    "windows": np.array([[1, 0, 2], [5, 7, NAN], [3, NAN, NAN]], float),
    "windows@leak": np.array([[1, 0, 2], [7, 5, NAN], [3, NAN, NAN]], float),
}


def _bundle(**scores):
    spec = SimpleNamespace(name="small", layers=3, size=12)
    return SimpleNamespace(spec=spec, rankings=lambda: scores or SCORES)


@pytest.mark.parametrize(
    ("text", "rows", "channels"),
    [
        ("channels:1", (), (1,)),
        ("channels:3", (), (1, 4, 7)),
        ("channels:2@ratio", (), (10, 11)),
        ("groups:2", (), (2, 3, 8, 9)),
        ("layers:best-1", (2,), ()),
        ("layers:best-2", (0, 2), ()),
        ("windows:1", (2,), ()),
        ("windows:2", (1, 2), ()),
        ("windows:2@leak", (0, 1), ()),
        ("windows:3@difference", (0, 1, 2), ()),
    ],
)
def test_the_best_are_chosen(text, rows, channels):
    assert best_units(text, _bundle()) == (rows, channels)


def test_rows_of_their_own_width_have_flat_tables():
    scores = {"channels": np.array([0, 9, 1, 2, 8.0, 3]), "groups": np.array([5.0, 7, 6])}
    bundle = SimpleNamespace(spec=SimpleNamespace(name="uneven", layers=2, size=6), rankings=lambda: scores)
    assert best_units("channels:3", bundle) == ((), (1, 4, 5))
    assert best_units("groups:2", bundle) == ((), (2, 3, 4, 5))


def test_a_table_of_layers_outranks_the_windows_of_one():
    assert best_units("layers:best-1", _bundle(layers=np.array([[9.0], [1], [2]]))) == ((0,), ())


@pytest.mark.parametrize("text", ["layers:4-6", "layers:3", "levels:shape", "3-5", ""])
def test_what_speaks_of_no_ranking_is_left_alone(text):
    assert best_units(text, _bundle()) is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("channels:13", "1 to 12"),
        ("channels:0", "1 to 12"),
        ("channels:x", "1 to 12"),
        ("channels", "1 to 12"),
        ("groups:6", "1 to 5"),
        ("windows:4", "1 to 3"),
        ("layers:best-4", "1 to 3"),
        ("layers:best-", "1 to 3"),
        ("channels:2@d_attr", "the scores are"),
        ("channels:2@", "the scores are"),
        ("groups:2@leak", "no such ranking"),
        ("levels:shape@ratio", "to choose by a ranking, write"),
        ("layers:3@ratio", "to choose by a ranking, write"),
    ],
)
def test_what_does_not_exist_is_refused_with_what_does(text, says):
    with pytest.raises(OptionError, match=says):
        best_units(text, _bundle())


def test_a_swap_step_takes_what_is_chosen():
    step = SwapStep(best_units("channels:3", _bundle())[0], 1.0, best_units("channels:3", _bundle())[1])
    assert (step.rows, step.channels) == ((), (1, 4, 7))
