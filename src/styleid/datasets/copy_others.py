"""Copy the files beside photos in plain folders if the user asks for it, and report pictures that are not read."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from styleid.datasets.passthrough import (
    counted_as,
    has_ending,
    is_named_text,
    unread_kind_of,
    why_too_large,
    why_unread,
    why_withheld,
    with_passthrough_option,
)
from styleid.engine.journal import Journal, is_journal
from styleid.engine.remote_journal import open_journal
from styleid.engine.report import NAME as REPORT
from styleid.engine.shards import Shard
from styleid.engine.summary import Summary
from styleid.errors import OptionError
from styleid.media.formats.parse.sniff import IMAGE_SUFFIXES
from styleid.media.formats.parse.unread_kinds import Shows, UnreadKind
from styleid.media.storage.files import walk_others, write_atomic
from styleid.media.storage.remote import Place


@dataclass(frozen=True)
class OtherFileOptions:
    """Choose what is done with the files that are no photos.

    copy: copy files that are known to be harmless. carry: endings, such as psd, of files that are copied without a
    check; endings of photo formats that are read raise OptionError.
    """

    copy: bool = False
    carry: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if photos := sorted(ending for ending in self.carry if f".{ending.rpartition('.')[2]}" in IMAGE_SUFFIXES):
            raise OptionError("carry", f"files that end in .{photos[0]} are photos. They are anonymised, and never "
                              "copied.")  # fmt: skip

    def takes(self, name: str) -> bool:
        """Return whether the user asked for a file."""
        return self.copy or has_ending(name, self.carry)


class Other(NamedTuple):
    """A file that is no photo. name: relative to its folder, and to the output's."""

    folder: Place
    name: str

    @property
    def path(self) -> Place:
        """Its path."""
        return self.folder / self.name

    @property
    def ending(self) -> str:
        """The ending of its name, with the dot."""
        return PurePosixPath(self.name).suffix


def find_others(
    inputs: Sequence[Place], out: Place, options: OtherFileOptions, shard: Shard | None = None
) -> list[Other]:
    """List the files in the input folders that are no photos and are to be copied or reported.

    Args:
        inputs: The run's inputs.
        out: The output folder, which is not searched.
        options: Which files are copied.
        shard: The part of the run whose files are listed; None for all.

    Returns:
        The files, except hidden files and text that is not to be copied.

    Raises:
        OptionError: Two files would be copied to one place.
    """
    found: dict[str, Place] = {}
    for folder in (one for one in inputs if one.is_dir()):
        for name in walk_others(folder, exclude=out):
            if not _is_relevant(name, options) or (shard is not None and not shard.takes(name)):
                continue
            if found.setdefault(name, folder) != folder and options.takes(name):
                raise OptionError("copy_others", f"{found[name] / name} and {folder / name} would both be copied to "
                                  f"{name}.")  # fmt: skip
    return [Other(folder, name) for name, folder in found.items()]


def copy_other_files(
    files: Sequence[Other], out: Place, summary: Summary, options: OtherFileOptions, shard: Shard | None = None
) -> Counter[str]:
    """Copy the files that options ask for and that may be copied.

    Pictures whose formats are not read, and files that must not be copied, are named in the journal and the summary.

    Returns:
        The number of files whose formats are not read, by kind.
    """
    unread: Counter[str] = Counter()
    named: dict[str, str] = {}
    copied: set[str] = set()
    for file in files:
        kind = unread_kind_of(file.path)
        if kind is not None and not has_ending(file.name, options.carry):
            unread[counted_as(kind, file.ending)] += 1
        if reason := _copy(file, kind, out, options):
            named[file.name] = reason
        elif options.takes(file.name):
            copied.add(file.name)
    _write_journal(named, copied, open_journal(out, shard) if named or copied else None, summary)
    return unread


def _is_relevant(name: str, options: OtherFileOptions) -> bool:
    """Return whether a file may have to be copied or reported. Text is not, unless the user asks for it."""
    if name == REPORT or is_journal(name):
        return False
    return options.takes(name) or not (PurePosixPath(name).suffix and is_named_text(name))


def _write_journal(
    named: Mapping[str, str], copied: Collection[str], journal: Journal | None, summary: Summary
) -> None:
    """Journal and count the files that were not copied, and clear the errors of files that are copied now."""
    if journal is None:
        return
    records: list[dict[str, Any]] = [{"input": n, "faces": [], "error": reason} for n, reason in named.items()]
    healed = [name for name, line in journal.among(copied).items() if "error" in line]
    journal.append(*records, *({"input": name, "faces": [], "carried": True} for name in healed))
    journal.close()
    summary.inputs += len(records)
    for record in records:
        summary.count(record)


def _copy(file: Other, kind: UnreadKind | None, out: Place, options: OtherFileOptions) -> str:
    """Copy a file if the user asked for it and it may be copied; return why not, empty if there is nothing to say."""
    if not options.takes(file.name):
        return why_unread(kind, file.ending) if kind is not None and kind.shows is Shows.PICTURE else ""
    path = file.path
    assert isinstance(path, Path), "files are copied on this machine only"
    assert isinstance(out, Path)
    try:
        reason = "" if has_ending(file.name, options.carry) else _refused(path, kind)
        if not reason:
            write_atomic(out / file.name, path.read_bytes())
            return ""
        reason = with_passthrough_option(reason, file.ending)
    except OSError as error:
        reason = f"it cannot be read ({error.strerror or error})"
    with contextlib.suppress(OSError):  # an earlier run may have copied another file
        (out / file.name).unlink()
    return reason


def _refused(path: Path, kind: UnreadKind | None) -> str:
    if kind is not None:
        return f"it is {kind.name}, which may show persons"
    return why_too_large(path.stat().st_size) or why_withheld(path.name, path.read_bytes())
