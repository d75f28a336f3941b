"""Say what a ranking ranks: single channels, groups of them, layers, and windows of layers.

Convention
----------
A face's codes are a flat vector, row after row; `sizes` says how long each row is. A unit is the sorted numbers of
that vector that it holds, int64 (k,). A table's scores form a grid: (rows, units per row) for channels, groups and
layers, (length - 1, start) for windows; cells without a unit hold NaN. Channels and groups of a W+ whose rows differ in
length are kept in files as a flat vector instead, (units,), so that nothing is padded.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int, Int64

from styleid.errors import OptionError

Members = Int64[np.ndarray, " _"]
KINDS = ("layers", "windows", "groups", "channels")
_HOW = "write channels, groups:SIZE, layers or windows, separated by commas"


@dataclass(frozen=True)
class UnitTable:
    """List the units of one kind.

    shape: of the grid of scores. cells: (units, 2) where each unit's score stands in it. members: what each unit holds.
    flat: whether files keep the scores as (units,).
    """

    name: str
    shape: tuple[int, int]
    cells: Int[np.ndarray, "units 2"]
    members: tuple[Members, ...]
    flat: bool = False

    def kept(self, values: Float[np.ndarray, " units"]) -> Float[np.ndarray, "..."]:
        """Return one number per unit, (units,), as files keep it: the grid, or the numbers themselves."""
        return values if self.flat else self.grid(values)

    def grid(self, values: Float[np.ndarray, " units"]) -> Float[np.ndarray, "rows columns"]:
        """Lay one number per unit, (units,), out as the grid, NaN where no unit is."""
        out = np.full(self.shape, np.nan)
        out[self.cells[:, 0], self.cells[:, 1]] = values
        return out

    @property
    def is_partition(self) -> bool:
        """Whether no number belongs to two units, so that the best of them can be swapped together, one by one."""
        return self.name != "windows"


def unit_tables(text: str, sizes: Sequence[int], ranked: Sequence[int], *, flat: bool = False) -> list[UnitTable]:
    """Read `units` of `RankOptions` and list the units of each table.

    sizes: length of each row of the codes; ranked: the rows that may be swapped (the others belong to no unit). flat:
    whether files keep the scores of channels and groups without the grid.
    Raises OptionError for a kind that does not exist, twice the same, or a size that divides no row.
    """
    tables: list[UnitTable] = []
    for part in (one.strip() for one in text.split(",") if one.strip()):
        kind, _, size = part.partition(":")
        if kind not in KINDS or (size != "" and kind != "groups"):
            raise OptionError("units", f"'{part}' is unknown: {_HOW}.")
        if kind in (table.name for table in tables):
            raise OptionError("units", f"'{text}' asks for {kind} twice; a file holds one table of a kind.")
        if kind == "windows":
            tables.append(_windows(sizes, ranked))
        else:
            pieces = _pieces(kind, _piece_size(part, kind, size, sizes, ranked), sizes, ranked)
            tables.append(replace(pieces, flat=flat and kind != "layers"))
    if not tables:
        raise OptionError("units", f"'{text}' names no units: {_HOW}.")
    return tables


def _piece_size(part: str, kind: str, size: str, sizes: Sequence[int], ranked: Sequence[int]) -> int:
    """Return how many numbers each unit of a row holds; 0 for the whole row."""
    if kind != "groups":
        return 1 if kind == "channels" else 0
    rows = sorted({sizes[row] for row in ranked})
    if not re.fullmatch(r"[1-9]\d{0,5}", size) or any(length % int(size) for length in rows):
        lengths = ", ".join(map(str, rows))
        raise OptionError("units", f"'{part}': a group's size must divide every row; rows hold {lengths} numbers.")
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
    """List every run of rows; rows that may not be swapped are left out of the runs that span them."""
    starts = np.concatenate([[0], np.cumsum(sizes)])
    ends = [starts[row + 1] if row in set(ranked) else starts[row] for row in range(len(sizes))]
    rows = [np.arange(first, end) for first, end in zip(starts[:-1], ends, strict=True)]
    cells, members = [], []
    for length in range(1, len(sizes) + 1):
        for first in range(len(sizes) - length + 1):
            held = np.concatenate(rows[first : first + length])
            if len(rows[first]) and len(rows[first + length - 1]):  # else a shorter run holds the same
                cells.append((length - 1, first))
                members.append(held)
    return UnitTable("windows", (len(sizes), len(sizes)), np.array(cells), tuple(members))
