"""Let so many requests work at once, and so many wait; whoever comes then is told to come back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio

from styleid.serve.problems import ProblemError

_RETRY_S = "2"


class Turns:
    """Hand out places to work. at_once: how many there are. waiting: how many may wait for one."""

    def __init__(self, at_once: int, waiting: int) -> None:
        self._places = anyio.Semaphore(at_once)
        self._most, self._inside = at_once + waiting, 0

    @asynccontextmanager
    async def enter(self) -> AsyncIterator[None]:
        """Enter before a photo is received; ProblemError (429) where too many are inside already.

        Whoever is inside holds a photo in memory.
        """
        if self._inside >= self._most:
            raise ProblemError(429, "Too many photos wait already. Try again.", {"retry-after": _RETRY_S})
        self._inside += 1
        try:
            yield
        finally:
            self._inside -= 1

    @asynccontextmanager
    async def work(self) -> AsyncIterator[None]:
        """Wait for a place to work, and keep it."""
        async with self._places:
            yield
