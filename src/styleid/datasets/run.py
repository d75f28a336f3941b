"""Carry a data set through: photos anonymised by the engine, then annotations, label maps and other files."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from styleid.core.pipeline import Anonymizer
from styleid.datasets.contents import Contents
from styleid.datasets.options import FROM_ANNOTATIONS, AnnotationOptions
from styleid.datasets.plan import Changes, Format, Named, Plan, found_faces, walk_files
from styleid.engine.journal import Journal, is_journal
from styleid.engine.local import RunOptions, Summary, process_files, read_boxes
from styleid.engine.report import NAME as REPORT
from styleid.errors import DatasetError, OptionError
from styleid.media.storage.files import write_atomic
from styleid.media.storage.remote import Place, RemotePath

Watch = Callable[[int, int, str], None]


@dataclass
class DatasetSummary:
    """Count what became of a data set.

    photos: of its photos. carried: files, or members of shards, that were copied byte for byte. changed: annotation
    files written anew. dropped: those left out with their photo. left: neither photo nor annotation, so not copied.
    kept_entries: photos that are missing and whose annotations were kept. notes: (name, text) for the user. unread: of
    the files that were left, by kind, pictures and videos that are not read.
    """

    photos: Summary
    carried: int = 0
    changed: int = 0
    dropped: int = 0
    left: int = 0
    kept_entries: int = 0
    notes: list[Named] = field(default_factory=list)
    unread: Counter[str] = field(default_factory=Counter)

    @property
    def exit_status(self) -> int:
        """As for photos: 3 where something was withheld, is absent, or was obscured against the asked method."""
        return self.photos.exit_status

    def to_json(self) -> dict[str, Any]:
        """Return the machine-readable summary."""
        own = {"files_carried": self.carried, "files_changed": self.changed, "files_dropped": self.dropped}
        own |= {"other_files_not_copied": self.left, "notes": [{"input": n, "note": t} for n, t in self.notes]}
        return self.photos.to_json() | own


def process_dataset(
    root: Path,
    form: Format,
    anonymizer: Anonymizer,
    run: RunOptions,
    options: AnnotationOptions,
    watch: Watch | None = None,
) -> DatasetSummary:
    """Anonymise a data set's photos into run.folder and carry everything that belongs to them; return what was done.

    The output ends complete, minus the photos that the journal names with an error. Raises DatasetError where the data
    set cannot be read, OptionError where the options do not fit it or run.folder holds anything else, OutputError where
    writing fails: then `resume` goes on from there.
    """
    check_places(root, run.folder)
    plan = form.plan(root, options)
    _refuse_strangers(run.folder, plan, options)
    own = read_boxes(Path(options.boxes)) if options.boxes not in ("", FROM_ANNOTATIONS) else None
    summary = DatasetSummary(process_files(plan.photos, anonymizer, run, own, watch))
    journal = Journal(run.folder)
    for name, reason in plan.absent:
        _fail(summary, journal, name, reason)
    records = {str(record["input"]): record for record in journal.records()}
    photos = [photo.relative.as_posix() for photo in plan.photos]
    missing = {name for name in photos if "error" in records.get(name, {})}
    withheld = missing | {name for name, _ in plan.absent}
    for name in missing:
        with contextlib.suppress(OSError):  # what an earlier run wrote with other options may show more
            (run.folder / name).unlink()
    changes = _changes(records, photos, options, withheld)
    others = set(plan.others)
    contents = Contents(root, plan, options, lambda view: len(anonymizer.find(view)) > 0)
    for name, data in _passed_through(contents, run.folder, summary, journal):
        new = data if name in others else form.rewrite(name, data, changes)
        put_text(run.folder / name, data, new, summary)
    for name, data in form.created(changes):
        write_atomic(run.folder / name, data)
        summary.changed += 1
    summary.left, summary.unread = len(contents.left), contents.unread
    summary.kept_entries = 0 if options.drop_withheld else len(withheld)
    summary.notes = [*plan.notes, *contents.caches(), *summary.photos.notes]
    return summary


def check_places(root: Place, out: Place) -> None:
    """Raise OptionError where the output folder is, holds or lies in the data set, or the data set is no folder."""
    if not root.is_dir():
        raise OptionError("source", f"{root} is no folder." if root.exists() else f"{root} does not exist.")
    if overlap(root, out):
        raise OptionError("out", f"{out} is, holds or lies in the data set {root}. Name a folder apart from it.")


def overlap(one: Place, other: Place) -> bool:
    """Say whether of two folders one is or holds the other."""
    if isinstance(one, RemotePath) and isinstance(other, RemotePath):
        return one.is_within(other) or other.is_within(one)
    if isinstance(one, RemotePath) or isinstance(other, RemotePath):
        return False
    here, there = one.resolve(), other.resolve()
    return here == there or here in there.parents or there in here.parents


def files_in(folder: Place) -> list[str]:
    """List the files below a folder, here or at a URL, as `walk_files` does; nothing where there is none."""
    if isinstance(folder, Path):
        return walk_files(folder) if folder.is_dir() else []
    try:
        return sorted(e.name for e in folder.walk() if e.name != REPORT and not is_journal(e.name))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise DatasetError(str(folder), f"it cannot be listed ({error.strerror})") from error


def refuse_strangers(out: Place, expected: set[str]) -> None:
    """Raise OptionError where an output folder holds files that are not of this data set."""
    there = files_in(out)
    if not there:
        return
    if strange := [name for name in there if name not in expected]:
        raise OptionError("out", f"{out} holds files that are not of this data set, such as '{strange[0]}'. "
                          "Name an empty folder.")  # fmt: skip
    if not any(
        is_journal(name) for name in ([p.name for p in out.iterdir()] if isinstance(out, Path) else out.names())
    ):
        raise OptionError("out", f"{out} holds files, such as '{there[0]}', but no journal of a run of styleid. "
                          "Name an empty folder.")  # fmt: skip


def _refuse_strangers(out: Path, plan: Plan, options: AnnotationOptions) -> None:
    expected = {photo.relative.as_posix() for photo in plan.photos} | {*plan.annotations, *plan.masks, *plan.others}
    expected |= set(plan.created) if options.add_faces else set()
    refuse_strangers(out, expected)


def _changes(
    records: Mapping[str, Mapping[str, Any]], photos: Sequence[str], options: AnnotationOptions, withheld: set[str]
) -> Changes:
    faces = {}
    for name in photos if options.add_faces else ():
        if (found := found_faces(records.get(name, {}))) is not None:
            faces[name] = found
    return Changes(faces, frozenset(withheld) if options.drop_withheld else frozenset())


def _passed_through(
    contents: Contents, out: Path, summary: DatasetSummary, journal: Journal
) -> Iterator[tuple[str, bytes]]:
    """Yield what is to be carried with its bytes; what may not be is named instead."""
    failed_once = {record["input"] for record in journal.records() if "error" in record} - contents.absent
    for one in contents.look():
        if one.reason:
            _fail(summary, journal, one.name, one.reason)
            with contextlib.suppress(OSError):  # what an earlier run carried was another file
                (out / one.name).unlink()
            continue
        if one.name in failed_once:
            journal.append({"input": one.name, "faces": [], "carried": True})
        yield one.name, one.data


def put_text(path: Path, old: bytes, new: bytes | None, summary: DatasetSummary) -> None:
    """Write an annotation file, or leave it out where there is no new text, and count what was done."""
    if new is None:
        path.unlink(missing_ok=True)
        summary.dropped += 1
        return
    if new == old:
        summary.carried += 1
    else:
        summary.changed += 1
    if not _holds(path, new):
        write_atomic(path, new)


def _holds(path: Path, data: bytes) -> bool:
    try:
        return path.stat().st_size == len(data) and path.read_bytes() == data
    except OSError:
        return False


def _fail(summary: DatasetSummary, journal: Journal, name: str, reason: str) -> None:
    record = {"input": name, "faces": [], "error": reason}
    journal.append(record)
    summary.photos.count(record)
