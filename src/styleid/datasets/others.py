"""Treat what lies beside photos in plain folders: copied where a user asks for it, pictures that are not read named."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from styleid.datasets.passthrough import (
    has_ending,
    unread_kind_of,
    why_too_large,
    why_unread,
    why_withheld,
    with_advice,
)
from styleid.engine.journal import Journal, is_journal
from styleid.engine.remote_journal import open_journal
from styleid.engine.report import NAME as REPORT
from styleid.engine.shards import Shard
from styleid.engine.summary import Summary
from styleid.errors import OptionError
from styleid.media.formats.parse.kinds import Kind, Shows
from styleid.media.formats.parse.sniff import IMAGE_SUFFIXES
from styleid.media.storage.files import InputFile, walk_others, write_atomic
from styleid.media.storage.remote import Place


@dataclass(frozen=True)
class OtherOptions:
    """Say what becomes of the files that are no photos.

    copy: copy those that are known to be harmless. carry: endings, such as jxl, of files that are copied whatever they
    show; OptionError where they are photos'.
    """

    copy: bool = False
    carry: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if photos := sorted(ending for ending in self.carry if f".{ending.rpartition('.')[2]}" in IMAGE_SUFFIXES):
            raise OptionError("--carry", f"files that end in .{photos[0]} are photos, which are anonymised, never "
                              "carried.")  # fmt: skip

    def takes(self, name: str) -> bool:
        """Say whether a file is to be copied, if it may be."""
        return self.copy or has_ending(name, self.carry)


def find_others(
    inputs: Sequence[Place], out: Place, options: OtherOptions, shard: Shard | None = None
) -> list[InputFile]:
    """List the files in the folders among inputs that are no photos by their names, out and hidden ones left out.

    shard: only those that this part of the run takes. Raises OptionError where two would be copied to one place.
    """
    found: dict[str, InputFile] = {}
    for folder in (one for one in inputs if one.is_dir()):
        for name in walk_others(folder, exclude=out):
            if name == REPORT or is_journal(name) or (shard is not None and not shard.takes(name)):
                continue
            other = found.setdefault(name, InputFile(folder / name, Path(name)))
            if other.path != folder / name and options.takes(name):
                raise OptionError("--copy-others", f"{other.path} and {folder / name} would both be copied to {name}.")
    return list(found.values())


def treat_others(
    files: Sequence[InputFile], out: Place, summary: Summary, options: OtherOptions, shard: Shard | None = None
) -> Counter[str]:
    """Copy the files that options ask for and are allowed; return how many there are of each unread kind.

    Pictures that are not read, and what is to be copied and may not be, are named in the journal and the summary.
    """
    unread: Counter[str] = Counter()
    named: dict[str, str] = {}
    copied: set[str] = set()
    for file in files:
        kind, name = unread_kind_of(file.path), file.relative.as_posix()
        if kind is not None and not has_ending(name, options.carry):
            unread[_counted(kind, file.relative.suffix)] += 1
        if reason := _treat(file, kind, out, options):
            named[name] = reason
        elif options.takes(name):
            copied.add(name)
    _tell(named, copied, open_journal(out, shard) if named or copied else None, summary)
    return unread


def _tell(named: Mapping[str, str], copied: Collection[str], journal: Journal | None, summary: Summary) -> None:
    """Journal and count what was not copied; what an earlier run named and this one copied is no error any more."""
    if journal is None:
        return
    records: list[dict[str, Any]] = [{"input": n, "faces": [], "error": reason} for n, reason in named.items()]
    healed = [name for name, line in journal.among(copied).items() if "error" in line]
    journal.append(*records, *({"input": name, "faces": [], "carried": True} for name in healed))
    journal.close()
    summary.inputs += len(records)
    for record in records:
        summary.count(record)


def list_unread(unread: Counter[str]) -> str:
    """Return one line that says how many files of which kinds were not read; "" where there are none."""
    kinds = ", ".join(f"{count} {what}" for what, count in sorted(unread.items()))
    return f"{unread.total()} files of kinds that are not read: {kinds}" if unread else ""


def _treat(file: InputFile, kind: Kind | None, out: Place, options: OtherOptions) -> str:
    """Copy a file where that is asked for and allowed; otherwise return why not, "" where nobody need be told."""
    ending = file.relative.suffix
    if not options.takes(file.relative.name):
        return why_unread(kind, ending) if kind is not None and kind.shows is Shows.PICTURE else ""
    assert isinstance(file.path, Path), "files are copied on this machine only"
    assert isinstance(out, Path)
    try:
        reason = "" if has_ending(file.relative.name, options.carry) else _refused(file.path, kind)
        if not reason:
            write_atomic(out / file.relative, file.path.read_bytes())
            return ""
        reason = with_advice(reason, ending)
    except OSError as error:
        reason = f"it cannot be read ({error.strerror or error})"
    with contextlib.suppress(OSError):  # what an earlier run copied was another file
        (out / file.relative).unlink()
    return reason


def _refused(path: Path, kind: Kind | None) -> str:
    if kind is not None:
        return f"it is {kind.name}, which may show persons"
    return why_too_large(path.stat().st_size) or why_withheld(path.name, path.read_bytes())


def _counted(kind: Kind, ending: str) -> str:
    what = kind.name.removeprefix("a ").removeprefix("an ")
    return f"{what} ({ending.lower() or 'no ending'})"
