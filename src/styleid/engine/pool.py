"""Workers that may die: each photo of a dead one is done again, and one that kills its workers is named.

What a worker is, a process or an actor of a cluster, is the business of `workers.py` and `ray.py`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from styleid.engine.photo import Done, Job, give_up
from styleid.errors import StyleIDError

_LIVES = 3
"""How many workers may die with one photo alone in hand before it is given up: one may be killed for its memory."""
_DEATHS_IN_A_ROW = 8


@dataclass
class Worker:
    """One worker. handle: what the transport knows it by. jobs: what it has in hand. alone: whether it gets no more."""

    handle: Any
    jobs: dict[int, Job] = field(default_factory=dict)
    alone: bool = False


@dataclass(frozen=True)
class Death:
    """A worker has died. cause: how, for people."""

    cause: str


News = Done | Death | BaseException


class Pool(ABC):
    """Give jobs to workers, and hire others for those that die. threads: how many jobs each has in hand at once."""

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
        """Send a job; a worker that is dead already makes itself heard in `news`."""

    @abstractmethod
    def news(self) -> Iterator[tuple[Worker, News]]:
        """Wait until there is news of any worker, and tell it. An exception is what a job raised."""

    @abstractmethod
    def dismiss(self) -> None:
        """End all workers when they have done what they have in hand."""

    @abstractmethod
    def bury(self, worker: Worker) -> None:
        """Clear away what a dead worker left; its jobs are still in hand."""

    def start(self, job: Job) -> None:
        """Begin a job, or queue it behind those whose worker died."""
        self._queue.append(job)
        self._assign()

    def wait(self) -> list[Done]:
        """Wait until any job is done, and return all that are."""
        while not self._ready:
            for worker, news in self.news():
                self._hear(worker, news)
        done, self._ready = self._ready, []
        return done

    def close(self) -> list[Done]:
        """Begin nothing more, let running jobs end, and return what is done."""
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
            raise StyleIDError(
                f"{self._in_a_row} workers died one after the other before any photo was done ({death.cause})."
            )
        for number, job in worker.jobs.items():
            self._deaths[number] += worker.alone or len(worker.jobs) == 1
            if self._deaths[number] < _LIVES:
                self._suspects.append(job)
            else:
                reason = f"{_LIVES} workers died of it, with nothing else in hand ({death.cause})"
                self._ready.append(give_up(job, reason))
        self.workers[self.workers.index(worker)] = Worker(self.hire())

    def _assign(self) -> None:
        """Give out what waits: photos whose worker died first, each alone, so that one that kills is found out."""
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
