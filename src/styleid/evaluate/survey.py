"""Analyse many photos in several processes, with results in order."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType
from typing import Any, TypeVar

from styleid.evaluate.instruments import Instruments, Setup
from styleid.evaluate.originals import OriginalResult, analyse_original
from styleid.evaluate.outputs import OutputTask, Result, analyse_output
from styleid.evaluate.protocol import Original
from styleid.runtime import cpu_threads, end_with_parent, limit_threads

Input = TypeVar("Input")
Output = TypeVar("Output")
Watch = Callable[[int, int, str], None]
_CHUNK = 4
_instruments: Instruments | None = None


@dataclass
class Surveyor:
    """Analyses originals and outputs. It is a context manager; leaving it ends the processes.

    setup: what the processes build. workers: number of processes; with 1, the work is done in this process. watch:
    called with the number of photos done, the number of all, and a line about the last.
    """

    setup: Setup
    workers: int = 1
    watch: Watch | None = None
    _pool: ProcessPoolExecutor | None = field(default=None, repr=False)

    def __enter__(self) -> Surveyor:
        self.tools = Instruments(self.setup)  # also here, so that errors are raised before processes are started
        if self.workers > 1:
            fresh = multiprocessing.get_context("spawn")  # a forked process would share the threads of the networks
            share = max(1, cpu_threads() // self.workers)
            self._pool = ProcessPoolExecutor(self.workers, fresh, _start, (self.setup, share))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
        self.tools.cache.close()

    def originals(self, originals: Sequence[Original]) -> list[OriginalResult]:
        """Analyse all originals."""
        return self.each(analyse_original, originals, "originals", lambda original: original.name)

    def outputs(self, tasks: Sequence[OutputTask], title: str) -> list[Result]:
        """Analyse all outputs of one tool. title: its name, for `watch`."""
        return self.each(analyse_output, tasks, title, lambda task: task.seen.original.name)

    def each(
        self,
        work: Callable[[Input, Instruments], Output],
        given: Sequence[Input],
        title: str,
        name: Callable[[Input], str],
    ) -> list[Output]:
        """Apply a function to every item, and return the results in order.

        Args:
            work: The function, which processes must be able to import.
            given: The items.
            title: What is done, for `watch`.
            name: Returns the name of an item, for `watch`.
        """
        global _instruments  # noqa: PLW0603 # a process builds its instruments once
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
    limit_threads(threads)  # with more threads, processes would slow each other down
    _instruments = Instruments(setup)


def _do(work: Callable[[Input, Instruments], Output], given: Input) -> Output:
    assert _instruments is not None
    return work(given, _instruments)
