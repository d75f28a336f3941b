"""Process queued jobs, one after the other, with the same engine as the command line.

The job's journal lists the files that are done, so that an interrupted job continues where it stopped.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from styleid.core.pipeline import Anonymizer
from styleid.engine.decisions import DecidedVideo
from styleid.engine.journal import Journal
from styleid.engine.local import process_files
from styleid.engine.report import write_report
from styleid.engine.summary import Summary
from styleid.errors import StyleIDError
from styleid.media.image import MAX_PIXELS
from styleid.media.storage.files import InputFile, remove_stale
from styleid.serve.clips import OUTPUTS, JobVideo, count_video, do_video, write_decisions
from styleid.serve.folders import Folders
from styleid.serve.networks import Networks
from styleid.serve.people import ObservedTargets, link_people
from styleid.serve.review import Body, compose
from styleid.serve.settings import Settings
from styleid.serve.store import Job, JobFile, Store
from styleid.serve.tracks import decided_video, found_tracks
from styleid.serve.uploads import INPUTS

__all__ = ["DECISIONS", "OUTPUTS", "Progress", "Worker"]
DECISIONS = "decisions.json"
_IDLE_S = 1.0
JANITOR_S = 30.0
_ENDED = ("done", "failed", "cancelled")
_log = logging.getLogger("styleid.serve")


class _CancelledError(Exception):
    """Raised when a job is cancelled or the service ends."""


@dataclass
class Progress:
    """Progress of a running job.

    Attributes:
        done: Number of files that are done.
        total: Number of files.
        since: When the run began, in seconds of the monotonic clock.
        before: Number of files that the estimate of the time leaves out, such as those of earlier runs.
        now: What is being processed.
        uneven: Whether the files include videos; the time left is then not estimated.
    """

    done: int = 0
    total: int = 0
    since: float = 0.0
    before: int = 0
    now: str = ""
    uneven: bool = False

    def eta_s(self) -> float | None:
        """Return the estimated seconds left; None if unknown."""
        own = self.done - self.before
        if own < 1 or self.uneven:
            return None
        return (time.monotonic() - self.since) / own * (self.total - self.done)


class Worker:
    """A thread that processes jobs, and removes expired ones."""

    def __init__(
        self,
        store: Store,
        networks: Networks,
        jobs: Path,
        folders: Folders | None = None,
        most_pixels: int = MAX_PIXELS,
    ) -> None:
        self._store, self._networks, self._jobs, self._most_pixels = store, networks, jobs, most_pixels
        self._folders = folders or Folders()
        self._wake, self._ending = threading.Event(), threading.Event()
        self._cancelled: set[str] = set()
        self._running: str | None = None
        self._changed = threading.Condition()
        self._threads: list[threading.Thread] = []
        self.progress: dict[str, Progress] = {}

    def start(self) -> None:
        """Continue the jobs that an earlier service left."""
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
        """Stop after the photos in progress, and end event streams; returns at once."""
        self._ending.set()
        self._wake.set()

    def stop(self) -> None:
        """End after the photos in progress; the next service processes the rest."""
        self.end_soon()
        for thread in self._threads:
            thread.join()

    @property
    def ending(self) -> bool:
        """Whether the service is ending."""
        return self._ending.is_set()

    def wake(self) -> None:
        """Check the queue now."""
        self._wake.set()

    def folder(self, job: str) -> Path:
        """Return a job's folder."""
        return self._jobs / job

    def source(self, job: str, file: JobFile) -> Path:
        """Return the path of an original."""
        if (place := self._store.source(job)) is not None:
            return self._folders.original(*place, file.name)
        return self.folder(job) / INPUTS / file.name

    def video(self, job: str, file: JobFile) -> JobVideo:
        """Return one of a job's videos."""
        return JobVideo(self.folder(job), file, self.source(job, file))

    def cancel(self, job: str) -> None:
        """Make a job end after the photos in progress."""
        with self._changed:
            if self._running == job:
                self._cancelled.add(job)
        self._store.move(job, "cancelled", among=("queued",))

    def delete(self, job: str) -> None:
        """Remove a job and all its files, once none is in progress."""
        self.cancel(job)
        with self._changed:
            self._changed.wait_for(lambda: self._running != job)
        self._store.remove_job(job)  # first: without its record, the next start removes what is left of the folder
        _remove(self.folder(job))

    def _tidy(self) -> None:
        """Remove expired jobs, also while another one runs."""
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
        except Exception:  # the queue must go on; each written file had passed its own checks
            _log.exception("a job failed")
            reason = "The service failed to process this job. The service's log has the reason."
            self._store.move(job.id, "failed", among=("running",), error=reason)
        else:
            self._store.note_summary(job.id, summary.to_json())
            self._store.finish(job.id, body)
        finally:
            self.progress.pop(job.id, None)

    def _run(self, job: Job, body: Body) -> Summary:
        files = self._store.files(job.id)
        progress = self.progress[job.id]
        progress.total, progress.uneven = len(files), any(one.kind == "video" for one in files)
        settings, out = Settings.model_validate(job.settings), self.folder(job.id) / OUTPUTS
        photos, videos = ([one for one in files if one.kind == kind] for kind in ("photo", "video"))

        def watch(done: int, total: int, name: str) -> None:
            progress.before = progress.before or max(done - 1, 0)
            progress.done, progress.now = done, name
            self._check(job.id)

        self._check(job.id)
        remove_stale(self.folder(job.id))
        summary = Summary()
        anonymizer = self._networks.anonymizer(settings.anonymize_options())
        if photos:
            inputs = [InputFile(self.source(job.id, one), Path(one.name)) for one in photos]
            onlooker = ObservedTargets(anonymizer.targets)
            if self._wants_links(job, anonymizer):
                anonymizer = anonymizer.with_people(onlooker)
            decisions = compose(body, photos, self._store.links(job.id))
            run, export = settings.run_options(out, self._most_pixels, resume=True), self.folder(job.id) / DECISIONS
            summary = process_files(inputs, anonymizer, run, watch=watch, decisions=decisions, export=export)
            _withdraw(out)
            write_report(out, summary)
            if self._wants_links(job, anonymizer):
                self._link(job, photos, anonymizer, onlooker)
        self._do_videos(job, body, videos, summary)
        progress.done = len(files)
        return summary

    def _wants_links(self, job: Job, anonymizer: Anonymizer) -> bool:
        """Return whether a job's faces must still be linked to people."""
        return anonymizer.options.method != "none" and not self._store.has_links(job.id)

    def _link(self, job: Job, photos: list[JobFile], anonymizer: Anonymizer, onlooker: ObservedTargets) -> None:
        """Link the faces of a job's photos to people."""
        folder = self.folder(job.id)
        paths = {one.name: self.source(job.id, one) for one in photos}

        def watch(done: int, name: str) -> None:
            self._check(job.id)

        records = Journal(folder / OUTPUTS).records()
        self._store.set_links(job.id, link_people(paths, records, anonymizer, watch, onlooker.seen))

    def _do_videos(self, job: Job, body: Body, videos: list[JobFile], summary: Summary) -> None:
        progress, settings = self.progress[job.id], Settings.model_validate(job.settings)
        photos = progress.total - len(videos)
        written: dict[str, DecidedVideo] = {}
        for number, file in enumerate(videos):
            progress.done = photos + number

            def watch(stage: str, done: int, total: int, name: str = file.name) -> None:
                progress.now = f"{name}: {stage} {done}/{total}" if total else f"{name}: {stage} {done}"
                self._check(job.id)

            anonymizer = self._networks.anonymizer(settings.anonymize_options())
            decided = self._decided(job.id, body, file)
            record = do_video(self.video(job.id, file), settings, anonymizer, decided, watch)
            count_video(summary, file.name, record)
            if "error" not in record:
                written[file.name] = decided
        if videos:
            anonymizer = self._networks.anonymizer(settings.anonymize_options())
            write_decisions(self.folder(job.id) / DECISIONS, settings, anonymizer, written, photos=photos > 0)

    def _decided(self, job: str, body: Body, file: JobFile) -> DecidedVideo:
        found = found_tracks(self.folder(job), file.number)
        return decided_video(body.get("videos", {}).get(file.name, {}), file, found)

    def _check(self, job: str) -> None:
        """Stop if the job was cancelled or the service is ending."""
        if self._ending.is_set() or job in self._cancelled:
            raise _CancelledError

    def _reason(self, error: StyleIDError) -> str:
        """Return an error's message without paths of this machine."""
        return str(getattr(error, "reason", error)).replace(str(self._jobs), "").replace(str(Path.home()), "")

    def remove_expired(self) -> None:
        """Remove expired jobs; a running one is removed when it ends."""
        for job in self._store.remove_expired(time.time()):
            _remove(self.folder(job))


def _withdraw(out: Path) -> None:
    """Remove earlier outputs of photos that are withheld now."""
    for record in Journal(out).records():
        if "error" in record:
            (out / str(record["input"])).unlink(missing_ok=True)


def _remove(folder: Path) -> None:
    """Remove a folder or a file, which another thread may be removing, too."""
    while folder.is_dir():
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(folder)
    folder.unlink(missing_ok=True)
