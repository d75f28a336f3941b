"""Swap units, one after the other and pair after pair, and keep what each changed: a run that can be broken off.

What is kept is a table of numbers that fills up in a fixed order, so that a run that was killed goes on where it was
and comes to the same result; parts of it merge by concatenation along the pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from styleid.ranking.metric import CHANGES, Readings, changes
from styleid.ranking.units import Members

Read = Callable[[Float[np.ndarray, "n numbers"]], Readings]


@dataclass(frozen=True)
class Pairs:
    """Sources and the targets that they borrow from. Codes are flat: float32 (n, numbers)."""

    sources: Float[np.ndarray, "n numbers"]
    targets: Float[np.ndarray, "n numbers"]

    def __len__(self) -> int:
        return len(self.sources)


@dataclass
class MeasuredSwaps:
    """What each swap changes in each pair.

    values: float32 (pairs, swaps, 3) in the order of `CHANGES`. done: how many swaps have been measured, counted pair
    by pair; what follows is NaN.
    """

    values: Float[np.ndarray, "pairs swaps 3"]
    done: int = 0

    @classmethod
    def empty(cls, pairs: int, swaps: int) -> MeasuredSwaps:
        """Begin."""
        return cls(np.full((pairs, swaps, len(CHANGES)), np.nan, np.float32))

    @property
    def complete(self) -> bool:
        """Whether nothing is left to do."""
        return self.done == self.values.shape[0] * self.values.shape[1]


def measure(
    pairs: Pairs,
    swaps: Sequence[Members],
    read: Read,
    measured: MeasuredSwaps,
    batch: int,
    after_batch: Callable[[], None] = lambda: None,
) -> None:
    """Fill in what is still missing of a table, `batch` faces at a time; after_batch is called after each.

    swaps: what each takes from the target, numbers of the flat codes. read: codes (n, numbers) -> Readings.
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
