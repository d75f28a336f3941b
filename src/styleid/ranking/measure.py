"""Measure what each swap changes in each pair of a source and a target.

Results are a table that is filled in a fixed order, so that an interrupted run can continue and gets the same result.
Tables of different pairs are merged by concatenation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from styleid.ranking.metric import CHANGES, Readings, changes
from styleid.ranking.units import Members

Read = Callable[[Float[np.ndarray, "n numbers"]], Readings]
"""Takes flat codes, (n, numbers); returns measurements of their faces."""


@dataclass(frozen=True)
class Pairs:
    """Sources and their targets.

    sources: flat codes, float32 (n, numbers).
    targets: flat codes, float32 (n, numbers).
    """

    sources: Float[np.ndarray, "n numbers"]
    targets: Float[np.ndarray, "n numbers"]

    def __len__(self) -> int:
        return len(self.sources)


@dataclass
class MeasuredSwaps:
    """What each swap changes in each pair.

    values: changes in the order of `CHANGES`, float32 (pairs, swaps, 3); NaN if not measured yet.
    done: number of measured swaps, counted pair by pair.
    """

    values: Float[np.ndarray, "pairs swaps 3"]
    done: int = 0

    @classmethod
    def empty(cls, pairs: int, swaps: int) -> MeasuredSwaps:
        """Return a table without measurements."""
        return cls(np.full((pairs, swaps, len(CHANGES)), np.nan, np.float32))

    @property
    def complete(self) -> bool:
        """Whether every swap is measured."""
        return self.done == self.values.shape[0] * self.values.shape[1]


def measure(
    pairs: Pairs,
    swaps: Sequence[Members],
    read: Read,
    measured: MeasuredSwaps,
    batch: int,
    after_batch: Callable[[], None] = lambda: None,
) -> None:
    """Measure the swaps that a table lacks.

    Args:
        pairs: The pairs.
        swaps: What each swap takes from the target: indices into the flat codes.
        read: Generates and measures faces.
        measured: The table; it is changed.
        batch: Number of faces per call of read.
        after_batch: Called after each batch.
    """
    if measured.complete:
        return
    before = _in_batches(pairs.sources, read, batch)
    flat = measured.values.reshape(-1, len(CHANGES))
    while not measured.complete:
        pair, swap = np.divmod(np.arange(measured.done, min(measured.done + batch, len(flat))), len(swaps))
        codes = pairs.sources[pair].copy()
        for k, (one, which) in enumerate(zip(pair, swap, strict=True)):
            codes[k, swaps[which]] = pairs.targets[one, swaps[which]]
        flat[measured.done : measured.done + len(pair)] = changes(before[pair], read(codes))
        measured.done += len(pair)
        after_batch()


def _in_batches(codes: Float[np.ndarray, "n numbers"], read: Read, batch: int) -> Readings:
    parts = [read(codes[i : i + batch]) for i in range(0, len(codes), batch)]
    return Readings(
        *(np.concatenate([getattr(p, f) for p in parts]) for f in ("embeddings", "attributes", "landmarks"))
    )
