"""A pool of workers that may die. The photos of a dead worker are repeated; a photo that kills workers is given up.

`workers.py` has workers that are processes, `ray_executor.py` has actors of a Ray cluster.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from styleid.engine.photo import Done, Job, give_up
from styleid.errors import StyleIDError

_DEATHS_ALLOWED = 3
"""How many workers may die with only this photo in hand before it is given up. One may die for lack of memory."""
_DEATHS_IN_A_ROW = 8


@dataclass
class Worker:
    """A worker. handle: of the process or actor. jobs: those in hand, by number. alone: whether it gets no others."""

    handle: Any
    jobs: dict[int, Job] = field(default_factory=dict)
    alone: bool = False


@dataclass(frozen=True)
class Death:
    """The death of a worker. cause: a text for people."""

    cause: str


News = Done | Death | BaseException


class Pool(ABC):
    """An executor that gives jobs to workers and replaces workers that die. threads: jobs that each has in hand."""

    def __init__(self, count: int, threads: int) -> None:
        self.capacity, self._threads = count * threads, threads
        self._queue: deque[Job] = deque()
        self._suspects: deque[Job] = deque()
        self._ready: list[Done] = []
        self._deaths: Counter[int] = Counter()
        self._in_a_row = 0
        self.workers: list[Worker] = []
        try:
            for _ in range(count):
                self.workers.append(Worker(self.hire()))
        except BaseException:
            self.close()
            raise

    @abstractmethod
    def hire(self) -> Any:
        """Start a worker and return its handle."""

    @abstractmethod
    def give(self, worker: Worker, job: Job) -> None:
        """Send a job. If the worker is dead, `news` reports it."""

    @abstractmethod
    def news(self) -> Iterator[tuple[Worker, News]]:
        """Wait for results, deaths, and exceptions that jobs raised; yield each with its worker."""

    @abstractmethod
    def dismiss(self) -> None:
        """Wait until the workers have finished the jobs in hand, and end them."""

    @abstractmethod
    def bury(self, worker: Worker) -> None:
        """Remove what a dead worker left. `worker.jobs` still has its jobs."""

    def start(self, job: Job) -> None:
        """Start a job, or queue it after those whose worker died."""
        self._queue.append(job)
        self._assign()

    def wait(self) -> list[Done]:
        """Wait until a job is done, and return all that are done. Raise the exception of a job that failed."""
        while not self._ready:
            for worker, news in self.news():
                self._hear(worker, news)
        done, self._ready = self._ready, []
        return done

    def close(self) -> list[Done]:
        """Wait for running jobs, start no others, and return the results that `wait` has not returned."""
        self._queue.clear()
        self._suspects.clear()
        self.dismiss()
        return self._ready

    def _hear(self, worker: Worker, news: News) -> None:
        if isinstance(news, Death):
            self._replace(worker, news)
        elif isinstance(news, BaseException):
            raise news
        else:
            self._in_a_row = 0
            del worker.jobs[news.number]
            worker.alone = worker.alone and bool(worker.jobs)
            self._ready.append(news)
        self._assign()

    def _replace(self, worker: Worker, death: Death) -> None:
        self.bury(worker)
        self._in_a_row += 1
        if self._in_a_row > _DEATHS_IN_A_ROW:
            raise StyleIDError(f"{self._in_a_row} workers died in a row before any photo was done ({death.cause}).")
        for number, job in worker.jobs.items():
            self._deaths[number] += worker.alone or len(worker.jobs) == 1
            if self._deaths[number] < _DEATHS_ALLOWED:
                self._suspects.append(job)
            else:
                reason = f"{_DEATHS_ALLOWED} workers died while they processed this photo alone ({death.cause})"
                self._ready.append(give_up(job, reason))
        self.workers[self.workers.index(worker)] = Worker(self.hire())

    def _assign(self) -> None:
        """Give waiting jobs to workers. Jobs whose worker died come first, each alone, to find out which one kills."""
        for worker in self.workers:
            if self._suspects and not worker.jobs:
                self._hand(worker, self._suspects.popleft(), alone=True)
        while self._queue:
            worker = min(self.workers, key=lambda w: len(w.jobs) if not w.alone else self._threads)
            if worker.alone or len(worker.jobs) >= self._threads or (self._suspects and worker.jobs):
                return
            self._hand(worker, self._queue.popleft(), alone=False)

    def _hand(self, worker: Worker, job: Job, *, alone: bool) -> None:
        worker.jobs[job.number], worker.alone = job, alone
        self.give(worker, job)
