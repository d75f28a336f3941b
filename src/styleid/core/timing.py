"""Measure the time that each stage of the pipeline takes."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Generator, Mapping
from contextlib import contextmanager


class StageTimer:
    """Adds up wall-clock seconds by stage, over all threads.

    seconds: totals so far, by the stage's name.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._lock = threading.Lock()

    @contextmanager
    def __call__(self, stage: str) -> Generator[None, None, None]:
        """Return a context manager that adds its block's seconds to a stage."""
        start = time.perf_counter()
        try:
            yield
        finally:
            with self._lock:
                self.seconds[stage] += time.perf_counter() - start

    def add(self, seconds: Mapping[str, float]) -> None:
        """Add seconds that were measured elsewhere, by the stage's name."""
        with self._lock:
            for stage, more in seconds.items():
                self.seconds[stage] += more
