"""Attack A6: the outcome of each face, from the original photo to the published file. Each face has one outcome."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Any

import numpy as np

from styleid.evaluate.attacks.search import matches_itself
from styleid.evaluate.table import FaceTable, ToolTable

UNCHANGED_BELOW = 4.0
"""Mean absolute change inside a face, of 255, below which it counts as unchanged. Re-encoding a JPEG changes about as
much."""


class Fate(StrEnum):
    """The outcome of a face."""

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
    """Return the outcome of each face, (n,). recognised: whether a recogniser accepts it as its original, (n,) bool."""
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
    """Return whether any recogniser accepts the photo with the face filled, bool (n,). This is the floor of A6.

    Args:
        table: The faces of the originals.
        thresholds: Similarity by recogniser.
    """
    found = np.zeros(len(table.subjects), bool)
    for recogniser, threshold in thresholds.items():
        clear, filled = (table.embeddings(recogniser, view) for view in ("clear", "filled"))
        found |= matches_itself(filled, clear, threshold)
    return found


def recognised_by_any(
    table: FaceTable, tool: ToolTable, thresholds: dict[str, float], alignments: Sequence[str]
) -> np.ndarray[Any, Any]:
    """Return whether any recogniser accepts the face as its original in any alignment, bool (n,).

    Args:
        table: The faces of the originals.
        tool: The results of the tool.
        thresholds: Similarity by recogniser.
        alignments: Names of the alignments.
    """
    found = np.zeros(len(table.subjects), bool)
    for recogniser, threshold in thresholds.items():
        clear = table.embeddings(recogniser, "clear")
        for alignment in alignments:
            found |= matches_itself(tool.embeddings(recogniser, alignment, clear.shape[1]), clear, threshold)
    return found
