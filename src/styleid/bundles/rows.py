"""The rows of W+, and the levels that group them.

The runtime handles W+ as one flat vector of float32. Its rows follow each other without gaps and may differ in width.
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
"""Indices into the flat vector."""


@dataclass(frozen=True)
class Row:
    """One row of W+.

    name: the row's name.
    first: index of its first number in the flat vector.
    width: number of its numbers.
    """

    name: str
    first: int
    width: int


def equal_rows(layers: int, width: int) -> tuple[Row, ...]:
    """Return the rows of W+ in format 1, which have the same width."""
    return tuple(Row(f"layer {row}", row * width, width) for row in range(layers))


def numbers_of(rows: Iterable[int], table: tuple[Row, ...]) -> RowNumbers:
    """Return the indices of some rows' numbers in the flat vector, row after row.

    Args:
        rows: Indices into table.
        table: All rows of W+.
    """
    held = [np.arange(table[row].first, table[row].first + table[row].width, dtype=np.int64) for row in rows]
    return np.concatenate([np.zeros(0, np.int64), *held])


def read_rows(records: Sequence[Mapping[str, Any]]) -> tuple[Row, ...]:
    """Read the entry `rows` of bundle.json, format 2.

    Raises:
        KeyError: If a row lacks an entry.
        TypeError: If a number is not an integer.
        ValueError: If rows do not follow each other without gaps, or names repeat.
    """
    rows: list[Row] = []
    for record in records:
        check_keys(record, ("name", "first", "width"), "a row")
        row = Row(str(record["name"]), index(record["first"]), index(record["width"]))
        begin = rows[-1].first + rows[-1].width if rows else 0
        if row.first != begin or row.width < 1:
            raise ValueError(
                f"row '{row.name}' has first {row.first} and width {row.width}; it must begin at {begin} and have at "
                "least one number."
            )
        rows.append(row)
    if not rows or len({row.name for row in rows}) < len(rows):
        raise ValueError("'rows' must list every row of W+ once, each with its own name.")
    return tuple(rows)


def check_keys(record: Mapping[str, Any], known: Iterable[str], what: str) -> None:
    """Raise ValueError if a record has an unknown key.

    Args:
        record: The record.
        known: The keys that it may have.
        what: What the record describes, for the message, such as "a row".
    """
    if strange := [key for key in record if key not in known]:
        raise ValueError(f"{what} has the unknown key '{strange[0]}'; known keys: {', '.join(known)}.")


def read_levels(record: Mapping[str, Any], layers: int) -> dict[str, tuple[int, int]]:
    """Read the entry `levels` of bundle.json.

    Args:
        record: The entry.
        layers: Number of rows of W+.

    Returns:
        First and last row of each level, by name.

    Raises:
        ValueError: If a level has rows that do not exist.
    """
    levels = {str(name): (int(first), int(last)) for name, (first, last) in record.items()}
    for name, (first, last) in levels.items():
        if not 0 <= first <= last < layers:
            raise ValueError(f"level '{name}' has the rows {first} to {last}; W+ has the rows 0 to {layers - 1}.")
    return levels


def rows_of(names: Iterable[str], levels: Levels) -> tuple[int, ...]:
    """Return the rows of some levels, in ascending order.

    Args:
        names: Names of levels.
        levels: All levels of the bundle.

    Raises:
        ValueError: If a level does not exist.
    """
    rows: set[int] = set()
    for name in names:
        if name not in levels:
            raise ValueError(f"level '{name}' is unknown; the bundle's levels are {', '.join(levels)}.")
        first, last = levels[name]
        rows.update(range(first, last + 1))
    return tuple(sorted(rows))
