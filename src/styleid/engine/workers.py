"""An executor with several processes of this machine. Each has its own networks and several photos in hand."""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from styleid.bundles.bundle import Bundle
from styleid.core.options import AnonymizeOptions
from styleid.core.pipeline import Anonymizer
from styleid.core.targets import FreshTargets
from styleid.engine.executor import ThreadExecutor
from styleid.engine.options import RunOptions
from styleid.engine.photo import Done
from styleid.engine.pool import Death, News, Pool, Worker
from styleid.errors import OptionError, StyleIDError
from styleid.media.storage.files import remove_temporaries_of
from styleid.runtime import Device, end_with_parent, limit_threads

_PATIENCE_S = 600.0


@dataclass(frozen=True)
class Recipe:
    """What a worker needs to make the same anonymiser. bundle: its folder, or None for the method `none`."""

    bundle: Path | None
    options: AnonymizeOptions
    device: Device

    @classmethod
    def of(cls, anonymizer: Anonymizer) -> Recipe:
        """Return the recipe of an anonymiser; raises OptionError if another process could not make the same one."""
        plain = type(anonymizer) is Anonymizer and type(anonymizer.targets) is FreshTargets
        if not plain or anonymizer.keep is not None:
            raise OptionError(
                "workers",
                "the new faces of this run depend on more than the photo and the seed, so one process must make them. "
                "Use `workers=1` and `engine=local`.",
            )
        needs_none = anonymizer.options.method == "none"
        return cls(None if needs_none else anonymizer.bundle.folder.absolute(), anonymizer.options, anonymizer.device)

    def make(self) -> Anonymizer:
        """Make the anonymiser."""
        bundle = None if self.bundle is None else Bundle(self.bundle, self.device)
        return Anonymizer(bundle, self.options, self.device)


Serve = Callable[[Connection, Recipe, RunOptions, int], None]


@dataclass(frozen=True)
class _Process:
    process: BaseProcess
    connection: Connection


class ProcessExecutor(Pool):
    """An executor with processes. serve: the function that each process runs."""

    def __init__(
        self, recipe: Recipe, options: RunOptions, count: int, threads: int, serve: Serve | None = None
    ) -> None:
        self._recipe, self._options, self._serve = recipe, options, serve or serve_jobs
        self._context = multiprocessing.get_context("spawn")  # a forked process would share the threads of the networks
        super().__init__(count, threads)

    def hire(self) -> _Process:
        """Start a process."""
        ours, theirs = self._context.Pipe()
        given = (theirs, self._recipe, self._options, self._threads)
        process = self._context.Process(target=self._serve, args=given, daemon=True, name="styleid-worker")
        process.start()
        theirs.close()
        return _Process(process, ours)

    def give(self, worker: Worker, job: Any) -> None:
        """Send a job."""
        with contextlib.suppress(OSError):  # the process is dead; `news` reports it
            worker.handle.connection.send(job)

    def news(self) -> Iterator[tuple[Worker, News]]:
        """Wait for results or for the death of a process."""
        of = {worker.handle.connection: worker for worker in self.workers}
        for connection in wait(list(of)):
            assert isinstance(connection, Connection)
            try:
                yield of[connection], connection.recv()
            except (EOFError, OSError):
                of[connection].handle.process.join()
                yield of[connection], Death(_cause(of[connection].handle.process.exitcode))

    def bury(self, worker: Worker) -> None:
        """Remove the incomplete files of a dead process."""
        worker.handle.connection.close()
        folders = {job.output.parent for job in worker.jobs.values() if job.output is not None}
        remove_temporaries_of(worker.handle.process.pid, folders)

    def dismiss(self) -> None:
        """Wait for the jobs in hand, keep their results, and end the processes."""
        for worker in self.workers:
            with contextlib.suppress(OSError):
                worker.handle.connection.send(None)
        for worker in self.workers:
            with contextlib.suppress(EOFError, OSError):
                while worker.handle.connection.poll(_PATIENCE_S):
                    news = worker.handle.connection.recv()
                    if isinstance(news, Done):
                        self._ready.append(news)
            worker.handle.connection.close()
            worker.handle.process.join()


def serve_jobs(connection: Connection, recipe: Recipe, options: RunOptions, threads: int) -> None:
    """Do the jobs that a connection brings, several at once, until it brings None. The main function of a process."""
    import cv2

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent process decides when to stop
    end_with_parent()
    limit_threads(1)
    cv2.setNumThreads(1)

    def report(news: Done | BaseException) -> None:
        # exceptions of other packages may not survive pickling
        own = isinstance(news, Done | StyleIDError)
        connection.send(news if own else RuntimeError(f"a worker failed: {type(news).__name__}: {news}"))

    try:
        executor = ThreadExecutor(recipe.make(), options, threads, report)
    except Exception as error:
        report(error)
        return
    with contextlib.suppress(EOFError, OSError):
        while (job := connection.recv()) is not None:
            executor.start(job)
    executor.close()


def _cause(status: int | None) -> str:
    if status is None or status >= 0:
        return f"it ended with status {status}"
    try:
        return f"killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"killed by signal {-status}"
