"""Executors do the work: photos go to one and come back in any order; here they are put in order again."""

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
"""How many photos for each place may be begun before the oldest is finished: finished photos wait in memory for their
place in the journal."""


class Executor(Protocol):
    """Do jobs, several at once. capacity: how many."""

    capacity: int

    def start(self, job: Job) -> None:
        """Begin a job; there is a place for it."""

    def wait(self) -> list[Done]:
        """Wait until any job is done, and return all that are. Raises what went wrong, but for an unreadable photo."""
        ...

    def close(self) -> list[Done]:
        """Begin nothing more, let running jobs end, and return what is done and was not waited for."""
        ...


def in_order(executor: Executor, jobs: Iterator[Job], held: dict[int, Done]) -> Iterator[list[Done]]:
    """Yield what jobs, numbered from 0, come to, in their order, all that is ready at once.

    held: what is done and must wait for earlier ones.
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
    """Handle several photos at once in this process, on one set of networks.

    tell: called with what a job came to, or the exception that it raised, as soon as it is; by default that waits for
    `wait`.
    """

    def __init__(
        self,
        anonymizer: Anonymizer,
        options: RunOptions,
        count: int,
        tell: Callable[[Done | BaseException], None] | None = None,
    ) -> None:
        self.capacity = count
        self._options, self._budget = options, PixelBudget()
        self._pool = ThreadPoolExecutor(count, "styleid-photo")
        self._ended: queue.SimpleQueue[Done | BaseException] = queue.SimpleQueue()
        self._tell = tell or self._ended.put
        self._telling = threading.Lock()
        self._free: queue.SimpleQueue[Anonymizer] = queue.SimpleQueue()
        for _ in range(count):
            self._free.put(anonymizer.with_timer(StageTimer()))

    def start(self, job: Job) -> None:
        """Begin a job in a free thread."""
        self._pool.submit(self._do, job)

    def wait(self) -> list[Done]:
        """Wait until any job is done, and return all that are."""
        ended = [self._ended.get()]
        while not self._ended.empty() and isinstance(ended[-1], Done):
            ended.append(self._ended.get())
        if isinstance(ended[-1], BaseException):
            for done in ended[:-1]:
                self._ended.put(done)  # `close` returns them
            raise ended[-1]
        return [done for done in ended if isinstance(done, Done)]

    def close(self) -> list[Done]:
        """Begin nothing more, let running jobs end, and return what is done."""
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
        except BaseException as error:  # whatever it is, whoever waits must hear of it
            done = error
        finally:
            self._free.put(anonymizer)
        with self._telling:
            self._tell(done)
