"""Limit how many requests run at once and how many wait; further ones are refused."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio

from styleid.serve.problems import ProblemError

_RETRY_S = "2"


class RequestSlots:
    """Places for requests.

    Args:
        at_once: Number of requests that run at the same time.
        waiting: Number of further requests that may wait.
    """

    def __init__(self, at_once: int, waiting: int) -> None:
        self._places = anyio.Semaphore(at_once)
        self._most, self._inside = at_once + waiting, 0

    @asynccontextmanager
    async def enter(self) -> AsyncIterator[None]:
        """Enter before a photo is received, since every request inside holds a photo in memory.

        Raises:
            ProblemError: Too many requests are inside (429).
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
        """Wait for a place, and hold it."""
        async with self._places:
            yield
