"""Attack A4: link anonymised photos of one person, and measure whether different people got similar faces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from styleid.evaluate.statistics import Sums
from styleid.evaluate.verification import impostor_similarities

FloatArray = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Linkage:
    """The results of linking.

    Attributes:
        auc: Probability that two anonymised photos of one person are more similar than two of different people. 0.5
            means that they cannot be linked.
        strangers_accepted: Share of other people's faces that are accepted as the same person, for each face. Divided
            by the false-match rate of the threshold, it is 1 if new faces differ as much as those of real people.
    """

    auc: Sums
    strangers_accepted: Sums


def linkage(
    anonymized: FloatArray, people: FloatArray, threshold: float = np.inf, lost: FloatArray | None = None
) -> Linkage:
    """Measure how well anonymised photos of one person can be linked.

    A pair with a withheld photo counts as 0.5, a pair with a lost one as linked.

    Args:
        anonymized: Embeddings of the outputs, (n, d).
        people: The person of each, (n,).
        threshold: Similarity above which two faces are accepted as one person.
        lost: Which faces were published but could not be measured, (n,) bool.
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
