"""The units that a ranking ranks: channels, groups of channels, layers, and windows of consecutive layers.

Convention
----------
A face's codes are a flat vector, row after row; `sizes` has the length of each row. A unit is an array of sorted
indices into that vector, int64 (k,). A table's scores form a grid: (rows, units per row) for channels, groups and
layers, (length - 1, start) for windows; cells without a unit are NaN. If rows differ in length, files contain the
scores of channels and groups as (units,) instead, to avoid padding.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int, Int64

from styleid.errors import OptionError

Members = Int64[np.ndarray, " _"]
"""Indices of a unit's numbers in the flat codes."""
KINDS = ("layers", "windows", "groups", "channels")
_FORMS = "write channels, groups:SIZE, layers or windows, separated by commas"


@dataclass(frozen=True)
class UnitTable:
    """The units of one kind.

    name: the kind.
    shape: shape of the grid of scores.
    cells: row and column of each unit's score in the grid, (units, 2).
    members: indices of each unit's numbers in the flat codes.
    flat: whether files contain the scores as (units,) instead of as a grid.
    """

    name: str
    shape: tuple[int, int]
    cells: Int[np.ndarray, "units 2"]
    members: tuple[Members, ...]
    flat: bool = False

    def kept(self, values: Float[np.ndarray, " units"]) -> Float[np.ndarray, "..."]:
        """Return values of the units, (units,), in the form of a rankings file: as a grid, or unchanged if flat."""
        return values if self.flat else self.grid(values)

    def grid(self, values: Float[np.ndarray, " units"]) -> Float[np.ndarray, "rows columns"]:
        """Arrange values of the units, (units,), as a grid; cells without a unit are NaN."""
        out = np.full(self.shape, np.nan)
        out[self.cells[:, 0], self.cells[:, 1]] = values
        return out

    @property
    def is_partition(self) -> bool:
        """Whether every number belongs to at most one unit, so that units can be swapped together one by one."""
        return self.name != "windows"


def unit_tables(text: str, sizes: Sequence[int], ranked: Sequence[int], *, flat: bool = False) -> list[UnitTable]:
    """Parse a list of kinds, and return a table of units for each.

    Args:
        text: Kinds separated by commas, such as "layers,groups:4".
        sizes: Length of each row of the codes.
        ranked: Indices of the rows that may be swapped; other rows belong to no unit.
        flat: Whether files contain the scores of channels and groups as (units,) instead of as a grid.

    Raises:
        OptionError: If a kind is unknown or given twice, or a group's size does not divide every row.
    """
    tables: list[UnitTable] = []
    for part in (one.strip() for one in text.split(",") if one.strip()):
        kind, _, size = part.partition(":")
        if kind not in KINDS or (size != "" and kind != "groups"):
            raise OptionError("units", f"'{part}' is unknown; {_FORMS}.")
        if kind in (table.name for table in tables):
            raise OptionError("units", f"'{text}' has {kind} twice; give each kind once.")
        if kind == "windows":
            tables.append(_windows(sizes, ranked))
        else:
            pieces = _pieces(kind, _piece_size(part, kind, size, sizes, ranked), sizes, ranked)
            tables.append(replace(pieces, flat=flat and kind != "layers"))
    if not tables:
        raise OptionError("units", f"'{text}' has no units; {_FORMS}.")
    return tables


def _piece_size(part: str, kind: str, size: str, sizes: Sequence[int], ranked: Sequence[int]) -> int:
    """Return the number of channels in each unit; 0 for the whole row."""
    if kind != "groups":
        return 1 if kind == "channels" else 0
    rows = sorted({sizes[row] for row in ranked})
    if not re.fullmatch(r"[1-9]\d{0,5}", size) or any(length % int(size) for length in rows):
        lengths = ", ".join(map(str, rows))
        raise OptionError("units", f"'{part}': a group's size must divide every row; rows have {lengths} numbers.")
    return int(size)


def _pieces(name: str, size: int, sizes: Sequence[int], ranked: Sequence[int]) -> UnitTable:
    starts = np.concatenate([[0], np.cumsum(sizes)])
    cells, members = [], []
    for row in ranked:
        step = size or sizes[row]
        for column, first in enumerate(range(starts[row], starts[row + 1], step)):
            cells.append((row, column))
            members.append(np.arange(first, first + step))
    columns = max(column for _, column in cells) + 1
    return UnitTable(name, (len(sizes), columns), np.array(cells), tuple(members))


def _windows(sizes: Sequence[int], ranked: Sequence[int]) -> UnitTable:
    """Return all windows of consecutive rows; rows that may not be swapped are left out of windows that span them."""
    starts = np.concatenate([[0], np.cumsum(sizes)])
    ends = [starts[row + 1] if row in set(ranked) else starts[row] for row in range(len(sizes))]
    rows = [np.arange(first, end) for first, end in zip(starts[:-1], ends, strict=True)]
    cells, members = [], []
    for length in range(1, len(sizes) + 1):
        for first in range(len(sizes) - length + 1):
            held = np.concatenate(rows[first : first + length])
            if len(rows[first]) and len(rows[first + length - 1]):  # otherwise a shorter window is the same unit
                cells.append((length - 1, first))
                members.append(held)
    return UnitTable("windows", (len(sizes), len(sizes)), np.array(cells), tuple(members))
