"""Anonymise a data set: the engine anonymises the photos; then annotations, label maps and other files follow."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from styleid.core.pipeline import Anonymizer
from styleid.datasets.contents import Contents
from styleid.datasets.hints import AnnotationHints
from styleid.datasets.options import FROM_ANNOTATIONS, AnnotationOptions
from styleid.datasets.plan import Changes, Format, Named, Plan, found_faces, walk_files
from styleid.engine.journal import Journal, is_journal
from styleid.engine.local import RunOptions, Summary, process_files, read_boxes
from styleid.engine.report import NAME as REPORT
from styleid.errors import DatasetError, OptionError
from styleid.media.storage.files import InputFile, write_atomic
from styleid.media.storage.remote import Place, RemotePath
from styleid.types import HintSource

Watch = Callable[[int, int, str], None]


@dataclass
class DatasetSummary:
    """What was done with a data set.

    photos: summary of its photos. carried: files, or members of shards, copied byte for byte. changed: annotation files
    that were rewritten. dropped: files or members left out with their photo. left: files that are neither photos nor
    annotations and were not copied. kept_entries: photos that were not written and whose annotations were kept. notes:
    (name, text) for the user. unread: of the files that were not copied, pictures and videos whose formats are not
    read, by kind.
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
        """0 if everything was written as asked; 3 if something was withheld, is missing, or faces were obscured."""
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
    """Anonymise a data set's photos into run.folder, and copy or rewrite the files that belong to them.

    The output is complete, except for the photos that the journal names with an error.

    Args:
        root: The data set's folder.
        form: Format of its annotations.
        anonymizer: Anonymises the photos.
        run: Where the new data set is written, and how.
        options: How annotations are used and changed.
        watch: Called after each photo with the number done, the number of all, and the name of the last.

    Returns:
        What was done.

    Raises:
        DatasetError: The data set cannot be read.
        OptionError: The options do not fit the data set, or run.folder contains other files.
        OutputError: An output cannot be written. A run with `run.resume` continues from there.
    """
    check_places(root, run.folder)
    plan = form.plan(root, options)
    _require_no_foreign_files(run.folder, plan, options)
    own = read_boxes(Path(options.boxes)) if options.boxes not in ("", FROM_ANNOTATIONS) else None
    summary = DatasetSummary(process_files(_to_process(plan, options), anonymizer, run, own, watch))
    journal = Journal(run.folder)
    for name, reason in plan.absent:
        _fail(summary, journal, name, reason)
    records = {str(record["input"]): record for record in journal.records()}
    photos = [photo.relative.as_posix() for photo in plan.photos]
    missing = {name for name in photos if "error" in records.get(name, {})}
    withheld = missing | {name for name, _ in plan.absent}
    for name in missing:
        with contextlib.suppress(OSError):  # an earlier run with other options may have written it
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


def _to_process(plan: Plan, options: AnnotationOptions) -> list[InputFile]:
    """Return the photos. If no boxes are used or added, outputs of `styleid anonymize` count as finished, too."""
    needed = options.add_faces or options.boxes == FROM_ANNOTATIONS
    return [replace(photo, hint_source=_hints(photo, needed=needed)) for photo in plan.photos]


def _hints(photo: InputFile, *, needed: bool) -> HintSource | None:
    hints = photo.hint_source
    return replace(hints, needed=needed) if isinstance(hints, AnnotationHints) and not hints.problem else hints


def check_places(root: Place, out: Place) -> None:
    """Raise OptionError if the data set is no folder, or it and the output folder overlap."""
    if not root.is_dir():
        raise OptionError("source", f"{root} is not a folder." if root.exists() else f"{root} does not exist.")
    if overlap(root, out):
        raise OptionError("out", f"{out} is, contains or lies in the data set {root}. Name another folder.")


def overlap(one: Place, other: Place) -> bool:
    """Return whether two folders are the same, or one contains the other."""
    if isinstance(one, RemotePath) and isinstance(other, RemotePath):
        return one.is_within(other) or other.is_within(one)
    if isinstance(one, RemotePath) or isinstance(other, RemotePath):
        return False
    here, there = one.resolve(), other.resolve()
    return here == there or here in there.parents or there in here.parents


def files_in(folder: Place) -> list[str]:
    """List the files in a folder or at a URL, as `walk_files` does; empty if there is not a folder."""
    if isinstance(folder, Path):
        return walk_files(folder) if folder.is_dir() else []
    try:
        return sorted(e.name for e in folder.walk() if e.name != REPORT and not is_journal(e.name))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise DatasetError(str(folder), f"it cannot be listed ({error.strerror})") from error


def require_no_foreign_files(out: Place, expected: set[str]) -> None:
    """Raise OptionError if an output folder contains files that do not belong to this data set.

    Args:
        out: The output folder.
        expected: Names that the data set's files may have there.
    """
    there = files_in(out)
    if not there:
        return
    if strange := [name for name in there if name not in expected]:
        raise OptionError("out", f"{out} contains files that do not belong to this data set, such as '{strange[0]}'. "
                          "Name an empty folder.")  # fmt: skip
    if not any(
        is_journal(name) for name in ([p.name for p in out.iterdir()] if isinstance(out, Path) else out.names())
    ):
        raise OptionError("out", f"{out} holds files, such as '{there[0]}', but no journal of a run of styleid. "
                          "Name an empty folder.")  # fmt: skip


def _require_no_foreign_files(out: Path, plan: Plan, options: AnnotationOptions) -> None:
    expected = {photo.relative.as_posix() for photo in plan.photos} | {*plan.annotations, *plan.masks, *plan.others}
    expected |= set(plan.created) if options.add_faces else set()
    require_no_foreign_files(out, expected)


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
    """Yield the name and content of each file to copy; journal the files that must not be copied."""
    failed_once = {record["input"] for record in journal.records() if "error" in record} - contents.absent
    for one in contents.look():
        if one.reason:
            _fail(summary, journal, one.name, one.reason)
            with contextlib.suppress(OSError):  # an earlier run may have copied another file
                (out / one.name).unlink()
            continue
        if one.name in failed_once:
            journal.append({"input": one.name, "faces": [], "carried": True})
        yield one.name, one.data


def put_text(path: Path, old: bytes, new: bytes | None, summary: DatasetSummary) -> None:
    """Write an annotation file, or remove it if there is no new content, and count what was done."""
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
