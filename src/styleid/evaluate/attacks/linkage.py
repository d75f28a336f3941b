"""Link anonymised photos of one person (A4), and see whether many people became one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from styleid.evaluate.statistics import Sums
from styleid.evaluate.verification import impostor_similarities

FloatArray = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Linkage:
    """Hold what linking found.

    auc: over pairs of anonymised photos of one person, the chance that they are more alike than a pair of different
    people (.5: not linkable). strangers_accepted: for each face, the share of other people's that pass for the same
    person; over the false-match rate that placed the threshold it is the collapse ratio (1: the new faces are as
    distinct as people are).
    """

    auc: Sums
    strangers_accepted: Sums


def linkage(
    anonymized: FloatArray, people: FloatArray, threshold: float = np.inf, lost: FloatArray | None = None
) -> Linkage:
    """Measure how well two anonymised photos of one person can be told to be so.

    A pair of which one is not there tells nothing, .5; one that is lost counts as linked. threshold: the similarity
    from which two faces pass for one person.
    """
    similarity = anonymized @ anonymized.T
    different = people[:, None] != people[None, :]
    first, second = np.nonzero(np.triu(~different, 1))
    mated = similarity[first, second]
    strangers = np.sort(impostor_similarities(anonymized, people))
    there = np.isfinite(mated) & (len(strangers) > 0)
    below, upto = (np.searchsorted(strangers, mated, side) for side in ("left", "right"))
    auc = np.where(there, (below + upto) / 2 / max(len(strangers), 1), 0.5)
    if lost is not None:
        auc = np.where(lost[first] | lost[second], 1.0, auc)
    compared = different & np.isfinite(similarity)
    rows = compared.any(1)
    taken = ((similarity > threshold) & compared)[rows].sum(1) / compared[rows].sum(1)
    return Linkage(Sums.of(auc, people[first]), Sums.of(taken, people[rows]))
