"""An executor with the actors of a Ray cluster (extra `ray`), on machines that share the file system."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

from styleid.engine.options import RunOptions
from styleid.engine.photo import Done, Job, do_job
from styleid.engine.pool import Death, News, Pool, Worker
from styleid.engine.workers import Recipe
from styleid.errors import MissingDependencyError, StyleIDError
from styleid.runtime import limit_threads

_IN_HAND = 2
"""Jobs that an actor has in hand: one in work and one waiting, because sending a job takes a millisecond or more."""


def import_ray() -> Any:
    """Return the module `ray`; raises MissingDependencyError if it is not installed."""
    try:
        import ray  # pyright: ignore[reportMissingImports]  (an extra that the checks do not install)
    except ModuleNotFoundError as error:
        raise MissingDependencyError("Ray", "'styleid[ray]'") from error
    return ray


def join_cluster(ray: Any) -> bool:
    """Join the cluster that RAY_ADDRESS names or that runs on this machine, or start one; return whether it started."""
    started = not ray.is_initialized()
    if started:
        ray.init(log_to_driver=False, logging_level=logging.WARNING, include_dashboard=False)
    return started


def actor_count(ray: Any, workers: int) -> int:
    """Return how many actors to start: `workers`, 0 for as many as possible; at most one for each core of the cluster.

    An actor for which there is no core would wait for ever, and so would the work that it was given.
    """
    cores = max(1, int(ray.cluster_resources().get("CPU", 1)))
    return min(workers or cores, cores)


class RayExecutor(Pool):
    """An executor with Ray actors of one thread each; see `actor_count`.

    It joins the cluster that RAY_ADDRESS names or that runs on this machine; otherwise it starts one for this run.
    """

    def __init__(self, recipe: Recipe, options: RunOptions) -> None:
        ray, self._recipe, self._options = import_ray(), recipe, options
        self._ray, self._started = ray, join_cluster(ray)
        self._actor = ray.remote(num_cpus=1, max_restarts=0)(_Actor)
        self._pending: dict[Any, Worker] = {}
        super().__init__(actor_count(ray, options.workers), _IN_HAND)

    def hire(self) -> Any:
        """Start an actor."""
        return self._actor.remote(self._recipe, self._options)

    def give(self, worker: Worker, job: Job) -> None:
        """Send a job."""
        self._pending[worker.handle.do.remote(job)] = worker

    def news(self) -> Iterator[tuple[Worker, News]]:
        """Wait for a result or for the death of an actor."""
        (reference,), _ = self._ray.wait(list(self._pending), num_returns=1)
        worker = self._pending.pop(reference)
        try:
            news: News = self._ray.get(reference)
        except self._ray.exceptions.RayActorError as error:
            self._pending = {other: at for other, at in self._pending.items() if at is not worker}
            news = Death(f"a Ray actor ended: {str(error).splitlines()[0]}")
        except self._ray.exceptions.RayTaskError as error:
            cause = error.cause
            news = cause if isinstance(cause, StyleIDError) else StyleIDError(f"a Ray actor failed: {error}")
        yield worker, news

    def bury(self, worker: Worker) -> None:
        """Do nothing: `remove_stale` removes the incomplete files, because the machine of a dead actor is not known."""

    def dismiss(self) -> None:
        """Wait for the jobs in hand, end the actors, and end the cluster if this run started it."""
        for reference in list(self._pending):
            try:
                done = self._ray.get(reference)
            except Exception:  # its photo is repeated when the run is resumed
                continue
            self._ready.append(done)
        self._pending.clear()
        for worker in self.workers:
            self._ray.kill(worker.handle)
        if self._started:
            self._ray.shutdown()


class _Actor:
    """An actor: makes the anonymiser once, then does one job at a time."""

    def __init__(self, recipe: Recipe, options: RunOptions) -> None:
        import cv2

        limit_threads(1)
        cv2.setNumThreads(1)
        self._anonymizer, self._options = recipe.make(), options

    def do(self, job: Job) -> Done:
        return do_job(job, self._anonymizer, self._options)
