"""Do the jobs of the queue, one after the other, through the same engine as the command line.

What is done stands in the job's journal, so that a job that was broken off goes on where it stopped.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
import threading
import time
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from styleid.core.pipeline import Anonymizer
from styleid.engine.journal import Journal
from styleid.engine.local import anonymize_files
from styleid.engine.report import write_report
from styleid.engine.summary import Summary
from styleid.errors import OptionError, StyleIDError
from styleid.media.image import MAX_PIXELS
from styleid.media.storage.files import InputFile
from styleid.serve.names import video_output
from styleid.serve.networks import Networks
from styleid.serve.people import Onlooker, link_people
from styleid.serve.review import Body, compose
from styleid.serve.settings import Settings
from styleid.serve.store import Job, JobFile, Store
from styleid.serve.uploads import INPUTS

OUTPUTS = "out"
DECISIONS = "decisions.json"
VIDEOS = "videos"
_IDLE_S = 1.0
JANITOR_S = 30.0
_ENDED = ("done", "failed", "cancelled")
_log = logging.getLogger("styleid.serve")


class _CancelledError(Exception):
    """A job was cancelled, or the service ends."""


@dataclass
class Progress:
    """How far a running job is. done, total: files; since: when it began; now: what is being done."""

    done: int = 0
    total: int = 0
    since: float = 0.0
    before: int = 0
    now: str = ""

    def eta_s(self) -> float | None:
        """Return how many seconds are left, None where that cannot be said yet."""
        own = self.done - self.before
        if own < 1:
            return None
        return (time.monotonic() - self.since) / own * (self.total - self.done)


class Worker:
    """A thread that does jobs, and removes those that have expired."""

    def __init__(self, store: Store, networks: Networks, jobs: Path, most_pixels: int = MAX_PIXELS) -> None:
        self._store, self._networks, self._jobs, self._most_pixels = store, networks, jobs, most_pixels
        self._wake, self._ending = threading.Event(), threading.Event()
        self._cancelled: set[str] = set()
        self._running: str | None = None
        self._changed = threading.Condition()
        self._threads: list[threading.Thread] = []
        self.progress: dict[str, Progress] = {}

    def start(self) -> None:
        """Go on with what an earlier service left."""
        for job in self._store.jobs():
            if job.state == "receiving":
                self._store.remove_job(job.id)
        self._store.requeue()
        known = {job.id for job in self._store.jobs()}
        for folder in self._jobs.iterdir():
            if folder.name not in known:
                _remove(folder)
        for name, work in (("styleid-jobs", self._work), ("styleid-tidy", self._tidy)):
            self._threads.append(threading.Thread(target=work, name=name, daemon=True))
            self._threads[-1].start()

    def end_soon(self) -> None:
        """Let the photos in hand be the last, and whoever follows a job know; returns at once."""
        self._ending.set()
        self._wake.set()

    def stop(self) -> None:
        """End after the photos in hand; what is left is done by the next service."""
        self.end_soon()
        for thread in self._threads:
            thread.join()

    @property
    def ending(self) -> bool:
        """Whether the service ends."""
        return self._ending.is_set()

    def wake(self) -> None:
        """Look into the queue now."""
        self._wake.set()

    def folder(self, job: str) -> Path:
        """Return a job's folder."""
        return self._jobs / job

    def cancel(self, job: str) -> None:
        """Let a job end after the photos in hand."""
        with self._changed:
            if self._running == job:
                self._cancelled.add(job)
        self._store.move(job, "cancelled", among=("queued",))

    def delete(self, job: str) -> None:
        """Remove a job and all its files, once nothing of it is in hand any more."""
        self.cancel(job)
        with self._changed:
            self._changed.wait_for(lambda: self._running != job)
        self._store.remove_job(job)  # first: without its record, the next start removes what is left of the folder
        _remove(self.folder(job))

    def _tidy(self) -> None:
        """Remove expired jobs, also while a long one is done."""
        while True:
            self.remove_expired()
            if self._ending.wait(JANITOR_S):
                return

    def _work(self) -> None:
        while not self._ending.is_set():
            with self._changed:
                job = self._store.next_job()
                self._running = job.id if job is not None else None
            if job is None:
                self._wake.wait(_IDLE_S)
                self._wake.clear()
                continue
            self._do(job)
            with self._changed:
                self._cancelled.discard(job.id)
                self._running = None
                self._changed.notify_all()

    def _do(self, job: Job) -> None:
        self.progress[job.id] = Progress(total=self._store.count_files(job.id), since=time.monotonic())
        try:
            body, _ = self._store.decisions(job.id)
            summary = self._run(job, body)
        except _CancelledError:
            state = "queued" if self._ending.is_set() and job.id not in self._cancelled else "cancelled"
            self._store.move(job.id, state, among=("running",))
        except StyleIDError as error:
            self._store.move(job.id, "failed", among=("running",), error=self._reason(error))
        except Exception:  # the queue must go on; files were judged one by one before they were written
            _log.exception("a job failed")
            told = "The service failed at this job. Its log on the server says why."
            self._store.move(job.id, "failed", among=("running",), error=told)
        else:
            self._store.note_summary(job.id, summary.to_json())
            self._store.finish(job.id, body)
        finally:
            self.progress.pop(job.id, None)

    def _run(self, job: Job, body: Body) -> Summary:
        files = self._store.files(job.id)
        progress = self.progress[job.id]
        progress.total = len(files)
        settings, out = Settings.model_validate(job.settings), self.folder(job.id) / OUTPUTS
        photos, videos = ([one for one in files if one.kind == kind] for kind in ("photo", "video"))

        def watch(done: int, total: int, name: str) -> None:
            progress.before = progress.before or max(done - 1, 0)
            progress.done, progress.now = done, name
            self._check(job.id)

        self._check(job.id)
        summary = Summary()
        if photos:
            inputs = [_input(self.folder(job.id), one) for one in photos]
            anonymizer = self._networks.anonymizer(settings.anonymize_options())
            onlooker = Onlooker(anonymizer.targets)
            if self._wants_links(job, anonymizer):
                anonymizer = anonymizer.with_people(onlooker)
            decisions = compose(body, photos, self._store.links(job.id))
            run, export = settings.run_options(out, self._most_pixels, resume=True), self.folder(job.id) / DECISIONS
            summary = anonymize_files(inputs, anonymizer, run, watch=watch, decisions=decisions, export=export)
            _withdraw(out)
            write_report(out, summary)
            if self._wants_links(job, anonymizer):
                self._link(job, photos, anonymizer, onlooker)
        for number, video in enumerate(videos):
            progress.done = len(photos) + number
            self._do_video(job, video, settings, out / VIDEOS, summary)
        progress.done = len(files)
        return summary

    def _wants_links(self, job: Job, anonymizer: Anonymizer) -> bool:
        """Say whether it is still to be found out who is who in a job's photos."""
        return anonymizer.options.method != "none" and not self._store.has_links(job.id)

    def _link(self, job: Job, photos: list[JobFile], anonymizer: Anonymizer, onlooker: Onlooker) -> None:
        """Find out who is who in a job's photos."""
        folder = self.folder(job.id)
        paths = {one.name: folder / INPUTS / one.name for one in photos}

        def watch(done: int, name: str) -> None:
            self._check(job.id)

        records = Journal(folder / OUTPUTS).records()
        self._store.set_links(job.id, link_people(paths, records, anonymizer, watch, onlooker.seen))

    def _do_video(self, job: Job, video: JobFile, settings: Settings, out: Path, summary: Summary) -> None:
        from styleid.video.options import VideoOptions
        from styleid.video.run import anonymize_video

        progress = self.progress[job.id]
        source = self.folder(job.id) / INPUTS / video.name
        target = out / video_output(PurePosixPath(video.name))
        target.parent.mkdir(parents=True, exist_ok=True)
        summary.inputs += 1
        if _is_done(target, source.name):
            summary.written += 1
            return

        def watch(stage: str, done: int, total: int) -> None:
            progress.now = f"{video.name}: {stage} {done}/{total}" if total else f"{video.name}: {stage} {done}"
            self._check(job.id)

        options = VideoOptions(target, review=True, require_faces=settings.require_faces, marking=settings.marking())
        anonymizer = self._networks.anonymizer(settings.anonymize_options())
        try:
            done = anonymize_video(source, anonymizer, options, watch=watch)
        except OptionError as error:
            raise OptionError(error.option, f"{video.name}: {error.reason}") from error
        if done.failure:
            summary.failed += 1
            summary.failures.append((video.name, done.failure))
        else:
            summary.written += 1

    def _check(self, job: str) -> None:
        """Break off where the job was cancelled or the service ends."""
        if self._ending.is_set() or job in self._cancelled:
            raise _CancelledError

    def _reason(self, error: StyleIDError) -> str:
        """Return what an error says, without paths of this machine."""
        return str(getattr(error, "reason", error)).replace(str(self._jobs), "").replace(str(Path.home()), "")

    def remove_expired(self) -> None:
        """Remove the jobs whose time is over; one that runs is removed once it has ended."""
        for job in self._store.remove_expired(time.time()):
            _remove(self.folder(job))


def _input(folder: Path, file: JobFile) -> InputFile:
    return InputFile(folder / INPUTS / file.name, Path(file.name))


def _withdraw(out: Path) -> None:
    """Remove what an earlier run wrote of photos that are withheld now, since a decision does not fit them, say."""
    for record in Journal(out).records():
        if "error" in record:
            (out / str(record["input"])).unlink(missing_ok=True)


def _is_done(target: Path, source: str) -> bool:
    """Say whether a video's output is whole: it takes its name when it is, and its line follows."""
    return target.is_file() and any("sha256" in one for one in Journal(target.parent).among({source}).values())


def _remove(folder: Path) -> None:
    """Remove a folder, which somebody else may be removing too, or a stray file."""
    while folder.is_dir():
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(folder)
    folder.unlink(missing_ok=True)
