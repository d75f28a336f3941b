"""Process several frames at once in threads, and yield the results in order.

Threads of one process suffice, because ONNX Runtime, FFmpeg and OpenCV release Python's global interpreter lock while
they work. The results do not depend on the number of threads.
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
"""Largest number of frames that are processed at once."""
_SPARE = 1
"""Number of frames that may wait for a thread, so that no thread is idle while a result is used."""


def frames_at_once() -> int:
    """Return the number of frames to process at once: the number of CPU cores of this process, at most 4."""
    return max(1, min(_MOST_AT_ONCE, cpu_threads()))


class FramePool:
    """Threads that process frames. On leaving the context, it waits for running work and cancels the rest.

    Attributes:
        at_once: Number of threads; with 1, all work is done in the calling thread.
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
        """Yield the result of each item, in the order of the items.

        Args:
            work: Processes an item in one of the threads. Items are started in order. An exception that it raises is
                raised here in place of the result.
            items: Read in the calling thread, a few items ahead of the results.
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
"""Processes one frame after the other in the calling thread."""
