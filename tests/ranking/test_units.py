import numpy as np
import pytest

from styleid.errors import OptionError
from styleid.ranking.units import unit_tables

SIZES = [4, 4, 4]


def _one(text, sizes=SIZES, ranked=None):
    (table,) = unit_tables(text, sizes, range(len(sizes)) if ranked is None else ranked)
    return table


@pytest.mark.parametrize(("text", "units", "shape"), [("channels", 12, (3, 4)), ("groups:2", 6, (3, 2)),
                                                      ("groups:4", 3, (3, 1)), ("layers", 3, (3, 1)),
                                                      ("windows", 6, (3, 3))])  # fmt: skip
def test_every_unit_is_there_once_and_has_a_cell(text, units, shape):
    table = _one(text)
    assert (len(table.members), table.shape) == (units, shape)
    grid = table.grid(np.arange(float(units)))
    assert sorted(grid[np.isfinite(grid)]) == list(range(units))
    if table.is_partition:
        assert np.array_equal(np.sort(np.concatenate(table.members)), np.arange(12))


def test_windows_have_every_length_and_start():
    table = _one("windows")
    held = {tuple(cell): members for cell, members in zip(table.cells.tolist(), table.members, strict=True)}
    assert np.array_equal(held[1, 1], np.arange(4, 12))
    assert np.array_equal(held[2, 0], np.arange(12))
    assert set(held) == {(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (2, 0)}


def test_rows_of_other_lengths_and_rows_that_stay():
    sizes, ranked = [4, 2, 6], [0, 2]
    channels = _one("channels", sizes, ranked)
    assert channels.shape == (3, 6)
    assert np.array_equal(np.concatenate(channels.members), [0, 1, 2, 3, 6, 7, 8, 9, 10, 11])
    assert np.isnan(channels.grid(np.zeros(10))[[0, 1, 1], [4, 0, 5]]).all()
    windows = _one("windows", sizes, ranked)
    assert windows.cells.tolist() == [[0, 0], [0, 2], [2, 0]]
    assert np.array_equal(windows.members[2], [0, 1, 2, 3, 6, 7, 8, 9, 10, 11])


def test_files_keep_units_of_uneven_rows_without_a_grid():
    channels, groups, layers = unit_tables("channels,groups:2,layers", [4, 2, 6], range(3), flat=True)
    assert channels.kept(np.arange(12.0)).tolist() == list(range(12))
    assert groups.kept(np.arange(6.0)).tolist() == list(range(6))
    assert groups.grid(np.arange(6.0))[1, 0] == 2
    assert layers.kept(np.arange(3.0)).shape == (3, 1)


@pytest.mark.parametrize(
    "text",
    ["", ",", "rows", "channels:3", "windows:2", "layers:1", "groups", "groups:", "groups:3", "groups:0", "groups:-2",
     "groups:2.0", "groups:8", "groups:2,groups:4", "layers,layers"],
)  # fmt: skip
def test_wrong_units_are_refused(text):
    with pytest.raises(OptionError, match=r"^units: "):
        unit_tables(text, SIZES, range(3))


def test_several_tables_keep_their_order():
    assert [table.name for table in unit_tables(" layers, groups:2 ,channels", SIZES, range(3))] == [
        "layers",
        "groups",
        "channels",
    ]
