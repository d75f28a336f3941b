"""What became of every face, end to end (A6): each face has one fate, and the fates add up to the faces."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Any

import numpy as np

from styleid.evaluate.attacks.search import matches_itself
from styleid.evaluate.table import FaceTable, ToolTable

UNCHANGED_BELOW = 4.0
"""Mean absolute change inside a face, of 255, below which it is as it was: re-encoding a JPEG changes about as much."""


class Fate(StrEnum):
    """Say what became of a face."""

    WITHHELD = "withheld"
    UNMEASURABLE = "published but not measurable"
    UNCHANGED = "left as it was"
    RECOGNISED = "changed but recognised"
    HIDDEN = "not recognised"

    @property
    def is_exposed(self) -> bool:
        """Whether the face counts as a loss of privacy."""
        return self in (Fate.UNMEASURABLE, Fate.UNCHANGED, Fate.RECOGNISED)


def fates(table: FaceTable, tool: ToolTable, recognised: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return each face's fate, (n,). recognised: (n,) bool, whether any recogniser takes it for its original."""
    change = tool.measure("inside_change")
    found = []
    for index in range(len(table.subjects)):
        if tool.lost[index]:
            found.append(Fate.UNMEASURABLE)
        elif not tool.measured[index]:
            found.append(Fate.WITHHELD)
        elif change[index] < UNCHANGED_BELOW:
            found.append(Fate.UNCHANGED)
        else:
            found.append(Fate.RECOGNISED if recognised[index] else Fate.HIDDEN)
    return np.array(found, object)


def recognised_when_filled(table: FaceTable, thresholds: dict[str, float]) -> np.ndarray[Any, Any]:
    """Say for each face whether any recogniser accepts the photo with it filled, bool (n,): the floor of the fate."""
    found = np.zeros(len(table.subjects), bool)
    for recogniser, threshold in thresholds.items():
        clear, filled = (table.embeddings(recogniser, view) for view in ("clear", "filled"))
        found |= matches_itself(filled, clear, threshold)
    return found


def recognised_by_any(
    table: FaceTable, tool: ToolTable, thresholds: dict[str, float], alignments: Sequence[str]
) -> np.ndarray[Any, Any]:
    """Say for each face whether any recogniser, however aligned, accepts it against its very original, bool (n,)."""
    found = np.zeros(len(table.subjects), bool)
    for recogniser, threshold in thresholds.items():
        clear = table.embeddings(recogniser, "clear")
        for alignment in alignments:
            found |= matches_itself(tool.embeddings(recogniser, alignment, clear.shape[1]), clear, threshold)
    return found
