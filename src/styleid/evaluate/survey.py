"""Look at whole data sets, photo by photo, on several processes, in order."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType
from typing import Any, TypeVar

from styleid.evaluate.instruments import Instruments, Setup
from styleid.evaluate.originals import Seen, see_original
from styleid.evaluate.outputs import OutputTask, Result, see_output
from styleid.evaluate.protocol import Original
from styleid.runtime import cpu_threads, end_with_parent, limit_threads

Given = TypeVar("Given")
Made = TypeVar("Made")
Watch = Callable[[int, int, str], None]
_CHUNK = 4
_instruments: Instruments | None = None


@dataclass
class Surveyor:
    """Look at originals and outputs. workers: processes; with one, the work is done in this process.

    Use it as a context manager: leaving it ends the processes.
    """

    setup: Setup
    workers: int = 1
    watch: Watch | None = None
    _pool: ProcessPoolExecutor | None = field(default=None, repr=False)

    def __enter__(self) -> Surveyor:
        self.tools = Instruments(self.setup)  # here too, so that what is wrong is said before any process begins
        if self.workers > 1:
            fresh = multiprocessing.get_context("spawn")  # forked processes would share the networks' threads
            share = max(1, cpu_threads() // self.workers)
            self._pool = ProcessPoolExecutor(self.workers, fresh, _start, (self.setup, share))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
        self.tools.cache.close()

    def originals(self, originals: Sequence[Original]) -> list[Seen]:
        """Look at all originals."""
        return self.each(see_original, originals, "originals", lambda original: original.name)

    def outputs(self, tasks: Sequence[OutputTask], title: str) -> list[Result]:
        """Look at all outputs of one tool."""
        return self.each(see_output, tasks, title, lambda task: task.seen.original.name)

    def each(
        self,
        work: Callable[[Given, Instruments], Made],
        given: Sequence[Given],
        title: str,
        name: Callable[[Given], str],
    ) -> list[Made]:
        """Do the same work on everything that is given, in any process; return what it made, in order.

        work: a function that processes can import. title, name: for whoever watches.
        """
        global _instruments  # noqa: PLW0603 # the way to give a process what it builds once
        if self._pool is None:
            _instruments = self.tools
            made: Any = map(partial(_do, work), given)
        else:
            made = self._pool.map(partial(_do, work), given, chunksize=_CHUNK)
        found = []
        for index, one in enumerate(made):
            found.append(one)
            if self.watch is not None:
                self.watch(index + 1, len(given), f"{title}: {name(given[index])}")
        return found


def _start(setup: Setup, threads: int) -> None:
    global _instruments  # noqa: PLW0603
    end_with_parent()
    limit_threads(threads)  # with more, processes would wait for each other's
    _instruments = Instruments(setup)


def _do(work: Callable[[Given, Instruments], Made], given: Given) -> Made:
    assert _instruments is not None
    return work(given, _instruments)
