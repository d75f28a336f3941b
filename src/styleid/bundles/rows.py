"""The rows of W+, and the levels that group them.

W+ is one flat vector of float32 in the whole run time. Rows follow each other in it without gaps; each has a width of
its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import index
from typing import Any

import numpy as np
from jaxtyping import Int64

Levels = Mapping[str, tuple[int, int]]
"""First and last row of each level, by name."""
RowNumbers = Int64[np.ndarray, " _"]
"""Places in the flat vector."""


@dataclass(frozen=True)
class Row:
    """Describe one row of W+. first: where it begins in the flat vector; width: how many numbers it holds."""

    name: str
    first: int
    width: int


def equal_rows(layers: int, width: int) -> tuple[Row, ...]:
    """Return the rows of W+ in format 1: `layers` rows of one width."""
    return tuple(Row(f"layer {row}", row * width, width) for row in range(layers))


def numbers_of(rows: Iterable[int], table: tuple[Row, ...]) -> RowNumbers:
    """Return the numbers of W+ that rows hold, row after row; rows: places in the table of all rows."""
    held = [np.arange(table[row].first, table[row].first + table[row].width, dtype=np.int64) for row in rows]
    return np.concatenate([np.zeros(0, np.int64), *held])


def read_rows(records: Sequence[Mapping[str, Any]]) -> tuple[Row, ...]:
    """Read `rows` of bundle.json, format 2; raises KeyError or ValueError where they do not follow each other."""
    rows: list[Row] = []
    for record in records:
        check_keys(record, ("name", "first", "width"), "a row")
        row = Row(str(record["name"]), index(record["first"]), index(record["width"]))
        begin = rows[-1].first + rows[-1].width if rows else 0
        if row.first != begin or row.width < 1:
            raise ValueError(f"row '{row.name}' holds {row.width} numbers from {row.first} on; it begins at {begin}.")
        rows.append(row)
    if not rows or len({row.name for row in rows}) < len(rows):
        raise ValueError("'rows' lists every row of W+ once, each with a name of its own.")
    return tuple(rows)


def check_keys(record: Mapping[str, Any], known: Iterable[str], what: str) -> None:
    """Raise ValueError for a key that is not known, of a row, say."""
    if strange := [key for key in record if key not in known]:
        raise ValueError(f"'{strange[0]}' of {what} is unknown; known are {', '.join(known)}.")


def read_levels(record: Mapping[str, Any], layers: int) -> dict[str, tuple[int, int]]:
    """Read `levels` of bundle.json; raises ValueError where one names rows that are not there."""
    levels = {str(name): (int(first), int(last)) for name, (first, last) in record.items()}
    for name, (first, last) in levels.items():
        if not 0 <= first <= last < layers:
            raise ValueError(f"level '{name}' holds rows {first} to {last} of {layers}.")
    return levels


def rows_of(names: Iterable[str], levels: Levels) -> tuple[int, ...]:
    """Return the rows of the named levels, in order; raises ValueError for a level that is not there."""
    rows: set[int] = set()
    for name in names:
        if name not in levels:
            raise ValueError(f"level '{name}' is unknown; the bundle's levels are {', '.join(levels)}.")
        first, last = levels[name]
        rows.update(range(first, last + 1))
    return tuple(sorted(rows))
