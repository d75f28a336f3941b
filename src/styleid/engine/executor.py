"""Executors, which do jobs in any order, and a function that puts their results in order."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from styleid.core.pipeline import Anonymizer
from styleid.core.timing import StageTimer
from styleid.engine.options import RunOptions
from styleid.engine.photo import Done, Job, PixelBudget, do_job

AHEAD = 8
"""How many photos per place may be started before the oldest one is done. It bounds the memory, because finished photos
wait for their place in the journal."""


class Executor(Protocol):
    """Does jobs, several at once. capacity: maximum number of jobs at once."""

    capacity: int

    def start(self, job: Job) -> None:
        """Start a job. Call it only if fewer than `capacity` are running."""

    def wait(self) -> list[Done]:
        """Wait until a job is done, and return all that are done. Raise the exception of a job that failed."""
        ...

    def close(self) -> list[Done]:
        """Wait for running jobs, start no others, and return the results that `wait` has not returned."""
        ...


def in_order(executor: Executor, jobs: Iterator[Job], held: dict[int, Done]) -> Iterator[list[Done]]:
    """Yield the results of jobs in the order of the jobs, all that are ready at once.

    Args:
        executor: Does the jobs.
        jobs: The jobs, numbered from 0.
        held: Filled with results that wait for earlier ones, by number.
    """
    begun = finished = running = 0
    more = True
    while True:
        while more and running < executor.capacity and begun - finished < AHEAD * executor.capacity:
            job = next(jobs, None)
            more = job is not None
            if job is not None:
                executor.start(job)
                begun, running = begun + 1, running + 1
        ready = []
        while finished in held:
            ready.append(held.pop(finished))
            finished += 1
        if ready:
            yield ready
        elif running:
            for done in executor.wait():
                held[done.number] = done
                running -= 1
        else:
            return


class ThreadExecutor:
    """An executor with threads of this process, which share one set of networks.

    report: called with the result of each job, or with the exception that it raised. By default, `wait` returns them.
    """

    def __init__(
        self,
        anonymizer: Anonymizer,
        options: RunOptions,
        count: int,
        report: Callable[[Done | BaseException], None] | None = None,
    ) -> None:
        self.capacity = count
        self._options, self._budget = options, PixelBudget()
        self._pool = ThreadPoolExecutor(count, "styleid-photo")
        self._ended: queue.SimpleQueue[Done | BaseException] = queue.SimpleQueue()
        self._report = report or self._ended.put
        self._telling = threading.Lock()
        self._free: queue.SimpleQueue[Anonymizer] = queue.SimpleQueue()
        for _ in range(count):
            self._free.put(anonymizer.with_timer(StageTimer()))

    def start(self, job: Job) -> None:
        """Start a job in a free thread."""
        self._pool.submit(self._do, job)

    def wait(self) -> list[Done]:
        """Wait until a job is done, and return all that are done. Raise the exception of a job that failed."""
        ended = [self._ended.get()]
        while not self._ended.empty() and isinstance(ended[-1], Done):
            ended.append(self._ended.get())
        if isinstance(ended[-1], BaseException):
            for done in ended[:-1]:
                self._ended.put(done)  # `close` returns them
            raise ended[-1]
        return [done for done in ended if isinstance(done, Done)]

    def close(self) -> list[Done]:
        """Wait for running jobs, start no others, and return the results that `wait` has not returned."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        left = []
        while not self._ended.empty():
            if isinstance(done := self._ended.get(), Done):
                left.append(done)
        return left

    def _do(self, job: Job) -> None:
        anonymizer = self._free.get()
        try:
            done: Done | BaseException = do_job(job, anonymizer, self._options, self._budget)
        except BaseException as error:  # the waiting thread must get every exception
            done = error
        finally:
            self._free.put(anonymizer)
        with self._telling:
            self._report(done)
