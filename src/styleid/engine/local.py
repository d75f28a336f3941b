"""Anonymise many files, several at once. The journal has them in the order of the inputs."""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from styleid.bundles.bundle import bundle_hash
from styleid.core.options import AnonymizeOptions
from styleid.core.pipeline import Anonymizer
from styleid.engine.assignment import Assignment
from styleid.engine.decisions import DecidedPhoto, Decisions
from styleid.engine.decisions_export import export_decisions
from styleid.engine.executor import Executor, ThreadExecutor, in_order
from styleid.engine.inputs import Inputs
from styleid.engine.journal import Journal
from styleid.engine.options import RunOptions
from styleid.engine.photo import Done, Job, box_rows
from styleid.engine.remote_journal import open_journal
from styleid.engine.shards import Shard
from styleid.engine.summary import Summary
from styleid.errors import OptionError, OutputError
from styleid.media.signing import check_signing
from styleid.media.storage.files import InputFile, remove_stale
from styleid.media.storage.remote import Place, RemotePath
from styleid.runtime import cpu_threads, limited_threads
from styleid.types import FloatArray

__all__ = [
    "DAY_S",
    "Boxes",
    "RunOptions",
    "Summary",
    "bundle_settings",
    "do_in_order",
    "make_executor",
    "process_files",
    "read_boxes",
    "run_settings",
    "threads",
]

Boxes = Mapping[str, FloatArray]
Watch = Callable[[int, int, str], None]
_MOST_THREADS = 4
_MORE_FOR_URLS = 2
_CORES_PER_WORKER = 4
_PHOTOS_PER_WORKER = 32
DAY_S = 86400.0


def process_files(
    inputs: Sequence[Place | InputFile],
    anonymizer: Anonymizer,
    options: RunOptions,
    boxes: Boxes | None = None,
    watch: Watch | None = None,
    assignment: Assignment | None = None,
    decisions: Decisions | None = None,
    export: Path | None = None,
) -> Summary:
    """Anonymise files and folders, on this machine or at URLs, into options.out.

    Inputs that cannot be read are counted and named in the summary and in the journal, and not copied; the run
    continues.

    Args:
        inputs: Files and folders.
        anonymizer: Anonymises each photo.
        options: Where to write, and how the work is divided.
        boxes: Additional face boxes by relative name, (n, 4) pixels of the upright image: x0, y0, x1, y1.
        watch: Called with the number of inputs done, the number of all, and the name of the last one.
        assignment: Assigns targets to people and says whose face is kept. Without it, targets are drawn at random.
        decisions: What a person decided about the faces of some inputs. If a decision does not match its photo, the
            photo is withheld.
        export: File to write a decisions file to that lists all faces, for a person to edit.

    Returns:
        The counts of the run.

    Raises:
        OutputError: An output cannot be written, for example because the disk is full. Files that were written are
            complete.
        OptionError: Boxes or decisions name a file that is no input, or decisions were made with other settings.
    """
    started = time.perf_counter()
    check_signing(options.marking)
    if assignment is not None:
        anonymizer = assignment.anonymizer
    shard = Shard.parse(options.shard)
    own = {name: rows for name, rows in (boxes or {}).items() if len(rows)}
    decided = {} if decisions is None else decisions.photos
    files = Inputs(inputs, exclude=options.out, shard=shard, boxed=own, decided=decided)
    journal = open_journal(options.out, shard)
    run = _Run(files, anonymizer, options, own, journal, watch, assignment, decided, hashed=export is not None)
    if decisions is not None:
        decisions.require_settings(run.settings)
        decisions.require_fresh_targets(assignment.options.targets if assignment is not None else "fresh")
    if options.resume:
        journal.require_settings(run.settings)
    if _exists(options.out):
        remove_stale(options.out, older_than_s=DAY_S if shard else 0.0)
    try:
        run.go()
        if export is not None:
            export_decisions(export, run.settings, run.lines())
    except BaseException:
        with contextlib.suppress(OutputError):
            journal.close()
        raise
    journal.close()
    run.summary.seconds = time.perf_counter() - started
    run.summary.stage_seconds = dict(anonymizer.seconds)
    return run.summary


def _exists(folder: Place) -> bool:
    try:
        return folder.is_dir()
    except OSError as error:
        raise OutputError(str(folder), f"it cannot be listed ({error.strerror or error})") from error


class _Run:
    """One run: gives the inputs that are not done to an executor, and writes its results to the journal in order."""

    def __init__(
        self,
        files: Inputs,
        anonymizer: Anonymizer,
        options: RunOptions,
        own: Boxes,
        journal: Journal,
        watch: Watch | None,
        assignment: Assignment | None,
        decided: Mapping[str, DecidedPhoto],
        *,
        hashed: bool,
    ) -> None:
        self.files, self.anonymizer, self.options, self.own = files, anonymizer, options, own
        self.decided, self.hashed = decided, hashed
        self.journal, self.watch, self.assignment = journal, watch, assignment
        self.settings = run_settings(anonymizer, options) | (assignment.settings() if assignment else {})
        self.summary = Summary(inputs=len(files))

    def go(self) -> None:
        if self.assignment is None or not self.assignment.looks_ahead:
            self._work(self._jobs())
            return
        resumed: list[Mapping[str, Any]] = []
        jobs = list(self._jobs(resumed))
        everybody = [self._job(0, file) for file in self.files] if self.assignment.groups else jobs
        self.assignment.analyse_photos(everybody, self.watch)
        self.assignment.require_plan(resumed)
        self._work(iter(jobs))
        names = {file.relative.as_posix() for file in self.files} if self.assignment.groups else set()
        while again := self.assignment.short(self.journal.among(names)):
            files = [file for file in self.files if file.relative.as_posix() in again]
            self._work(self._job(number, file) for number, file in enumerate(files))
            self.summary.recount(self.journal.among(names).values())

    def _work(self, jobs: Iterator[Job]) -> None:
        far = self.files.far or isinstance(self.options.out, RemotePath)
        executor = make_executor(self.anonymizer, self.options, len(self.files), self.assignment, far=far)
        do_in_order(executor, jobs, self._keep, photos=len(self.files))

    def _jobs(self, resumed: list[Mapping[str, Any]] | None = None) -> Iterator[Job]:
        """Yield the inputs that are not done. Count those that are, and add their journal lines to `resumed`."""
        number = 0
        for file in self.files:
            job = self._job(number, file)
            done = self.journal.finished(file, self.settings) if self.options.resume else None
            if done is not None and self._is_up_to_date(done, file):
                done = self._with_approval(done)
                self.summary.resumed += 1
                self.summary.count(done)
                if resumed is not None:
                    resumed.append(done)
                continue
            yield job
            number += 1

    def _job(self, number: int, file: InputFile) -> Job:
        name = file.relative.as_posix()
        return Job(
            number,
            name,
            file.path,
            self.options.out / file.relative,
            self.own.get(name),
            file.hint_source,
            decided=self.decided.get(name),
            hashed=self.hashed,
        )

    def _is_up_to_date(self, done: Mapping[str, Any], file: InputFile) -> bool:
        """Return whether a journal line has the same boxes, hints and decisions, and all fields that this run needs."""
        name = file.relative.as_posix()
        hints = file.hint_source.digest() if file.hint_source is not None and self._needs_hints(done, file) else None
        decided = self.decided[name].digest if name in self.decided else None
        same = done.get("own_boxes", []) == box_rows(self.own.get(name)) and done.get("advice") == hints
        has_hash = not self.hashed or "input_sha256" in done
        return same and has_hash and done.get("decisions") == decided and self._has_partner(done, file)

    def _needs_hints(self, done: Mapping[str, Any], file: InputFile) -> bool:
        """Return whether an output must have been made with the hints of its photo, or was made with some."""
        return "advice" in done or (file.hint_source is not None and file.hint_source.needed)

    def _has_partner(self, done: Mapping[str, Any], file: InputFile) -> bool:
        """Return whether the video beside a Live Photo is still the one of the journal line."""
        moving = done.get("moving", {})
        if "file" not in moving or "sha256" not in moving:
            return True
        out = self.options.out / file.relative.parent / moving["file"]
        try:
            return hashlib.sha256(out.read_bytes()).hexdigest() == moving["sha256"]
        except OSError:
            return False

    def _with_approval(self, done: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return a journal line with the approval of the decisions file; append it to the journal if that is new."""
        decided = self.decided.get(done["input"])
        approved = decided is not None and decided.approved
        if done.get("approved", False) == approved:
            return done
        line = {name: value for name, value in done.items() if name != "approved"}
        line |= {"approved": approved} if approved else {}
        self.journal.append(line)
        return line

    def lines(self) -> list[dict[str, Any]]:
        """Return the last journal line of each input, in the order of the inputs."""
        names = [file.relative.as_posix() for file in self.files]
        lines = self.journal.among(set(names))
        return [lines[name] for name in names if name in lines]

    def _keep(self, done: Sequence[Done]) -> None:
        """Append results to the journal, then count and report them."""
        plan = self.assignment.plan() if self.assignment else {}
        records: list[dict[str, Any]] = [one.record | {"settings": self.settings} | plan for one in done]
        self.journal.append(*records)
        for record, one in zip(records, done, strict=True):
            self.summary.count(record)
            for stage, seconds in one.stages.items():
                self.anonymizer.seconds[stage] += seconds
            if self.watch is not None:
                handled = min(self.summary.written + self.summary.failed, self.summary.inputs)
                self.watch(handled, self.summary.inputs, record["input"])


def do_in_order(
    executor: Executor, jobs: Iterator[Job], keep: Callable[[Sequence[Done]], None], *, photos: int
) -> None:
    """Let an executor do jobs and close it.

    Args:
        executor: Does the jobs.
        jobs: The jobs, numbered from 0.
        keep: Called with results in the order of the jobs. If the run is interrupted, it is also called with the
            results that are done by then, which may have gaps.
        photos: About how many photos there are; with few, each gets more threads.
    """
    held: dict[int, Done] = {}
    at_once = max(1, min(executor.capacity, photos))
    try:
        with limited_threads(max(1, cpu_threads() // at_once)):  # a second photo gains more than a second thread
            for done in in_order(executor, jobs, held):
                keep(done)
    except BaseException:  # an interrupt or a full disk: results that are complete need not be repeated
        held.update((done.number, done) for done in executor.close())
        with contextlib.suppress(OutputError):
            keep([held[number] for number in sorted(held)])
        raise
    executor.close()


def make_executor(
    anonymizer: Anonymizer, options: RunOptions, photos: int, assignment: Assignment | None = None, *, far: bool = False
) -> Executor:
    """Choose what does the work: threads of this process, other processes, or a Ray cluster.

    Args:
        anonymizer: Anonymises each photo.
        options: How the work is divided.
        photos: How many photos there are.
        assignment: Assigns targets to people; None if they are drawn at random.
        far: Whether inputs or outputs are at URLs. Then each process has more photos in hand, because some are being
            transferred.

    Raises:
        OptionError: Other processes were asked for, but the results would differ from those of one process.
    """
    cores = cpu_threads()
    if assignment is not None and assignment.looks_ahead and options.engine == "local" and options.workers < 2:
        return ThreadExecutor(anonymizer, options, 1)  # targets are assigned in order
    if options.engine == "ray":
        from styleid.engine.ray_executor import RayExecutor
        from styleid.engine.workers import Recipe

        return RayExecutor(Recipe.of(anonymizer), options)
    count = options.workers or min(cores // _CORES_PER_WORKER, photos // _PHOTOS_PER_WORKER)
    if count > 1:
        from styleid.engine.workers import ProcessExecutor, Recipe

        try:
            each = max(1, min(_MOST_THREADS, cores // count)) + far * _MORE_FOR_URLS
            return ProcessExecutor(Recipe.of(anonymizer), options, count, each)
        except OptionError:
            if options.workers:
                raise
    return ThreadExecutor(anonymizer, options, threads(cores) + far * _MORE_FOR_URLS)


def threads(cores: int) -> int:
    """Return how many photos one process with this number of cores works on at once."""
    return max(2, min(_MOST_THREADS, cores))


def run_settings(anonymizer: Anonymizer, options: RunOptions) -> dict[str, Any]:
    """Return the settings that an output depends on, for the journal and for resuming."""
    chosen: AnonymizeOptions = anonymizer.options
    return asdict(chosen) | {"metadata": options.metadata} | options.marking.settings() | bundle_settings(anonymizer)


def bundle_settings(anonymizer: Anonymizer) -> dict[str, Any]:
    """Return the name and the hash of the bundle; an empty dict for the method `none`."""
    if anonymizer.options.method == "none":
        return {}
    return {"bundle": anonymizer.bundle.spec.name, "bundle_sha256": bundle_hash(anonymizer.bundle.folder)}


def read_boxes(path: Path) -> dict[str, FloatArray]:
    """Read face boxes from a JSON file.

    Args:
        path: A JSON object that maps relative names to lists of [x0, y0, x1, y1], in pixels of the upright image.

    Returns:
        Boxes by name, float32 (n, 4).

    Raises:
        OptionError: The file cannot be read, or has another form.
    """
    import json

    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        return {str(name): np.asarray(rows, np.float32).reshape(-1, 4) for name, rows in record.items()}
    except OSError as error:
        raise OptionError("boxes", f"{path} cannot be read: {error.strerror}.") from error
    except (ValueError, AttributeError, TypeError) as error:
        raise OptionError(
            "boxes", f'{path} must hold JSON such as {{"street/1.jpg": [[10, 20, 60, 90]]}}: {error}'
        ) from error
