"""Work on several frames at once, in threads, and take what comes of them in order.

Networks, decoder, encoder and OpenCV leave Python's lock to others while they run, so threads of one process are
enough. What a frame becomes does not depend on how many are in hand.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from styleid.runtime import cpu_threads

T = TypeVar("T")
R = TypeVar("R")
_MOST_AT_ONCE = 4
_SPARE = 1
"""How many frames may wait for a thread, so that none is idle while the first result is used."""


def frames_at_once() -> int:
    """Return how many frames are worked on at once: as many as there are cores for this process, at most four."""
    return max(1, min(_MOST_AT_ONCE, cpu_threads()))


class FramePool:
    """Threads that work on frames; a context that waits for them at its end.

    at_once: how many. With 1 there are none: all is done in the calling thread, one frame after the other.
    """

    def __init__(self, at_once: int) -> None:
        self.at_once = at_once
        self._pool = ThreadPoolExecutor(at_once, "styleid-frame") if at_once > 1 else None

    def __enter__(self) -> FramePool:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def in_order(self, work: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
        """Yield what `work` makes of each item, in the items' order; raise what it raised in the place of a result.

        work: called in the threads, begun in the items' order. items: taken in the calling thread, a few ahead of what
        is yielded.
        """
        if self._pool is None:
            yield from map(work, items)
            return
        running: deque[Future[R]] = deque()
        for item in items:
            running.append(self._pool.submit(work, item))
            if len(running) >= self.at_once + _SPARE:
                yield running.popleft().result()
        while running:
            yield running.popleft().result()


ONE_BY_ONE = FramePool(1)
"""Works on one frame after the other: what everything else must agree with."""
