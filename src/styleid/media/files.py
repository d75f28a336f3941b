"""Find input files, and write output files that are whole or not there at all."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from styleid.errors import ImageError, OptionError, OutputError
from styleid.media.sniff import IMAGE_SUFFIXES
from styleid.types import Adviser

_TEMPORARY = re.compile(r"\.styleid-[0-9a-f]{16}\.part")


@dataclass(frozen=True)
class InputFile:
    """Hold one input.

    path: where it is. relative: where its output goes below the output folder. adviser: who knows more of it, such as a
    data set.
    """

    path: Path
    relative: Path
    adviser: Adviser | None = field(default=None, compare=False)


def walk_inputs(inputs: Sequence[Path | InputFile], *, exclude: Path | None = None) -> list[InputFile]:
    """List the files to process: files as named, folders walked in sorted order with their tree kept.

    A folder yields its files with a known image suffix, hidden ones skipped; a file named explicitly is taken whatever
    its name says. Links to folders are followed, each real folder once. exclude: the output folder, never entered.
    A file with an image suffix that cannot be read is listed all the same, so that reading it reports it. Whoever has
    made its own list passes its entries.
    Raises `OptionError` where an input does not exist, lies in the output folder, or two inputs would be written to
    the same place; `ImageError` where a folder cannot be listed.
    """
    barred = exclude.resolve() if exclude is not None else None
    found: dict[Path, InputFile] = {}
    for given in (one if isinstance(one, InputFile) else Path(one) for one in inputs):
        if isinstance(given, InputFile):
            files = iter([given])
        elif given.is_dir():
            if barred is not None and _is_within(given.resolve(), barred):
                raise OptionError(
                    "--out", f"{exclude} is or holds the input folder {given}. Name another output folder"
                )
            files = (InputFile(path, path.relative_to(given)) for path in _walk(given, barred))
        elif os.path.lexists(given):
            if barred is not None and _is_within(given.resolve(), barred):
                raise OptionError("--out", f"the input {given} lies in the output folder and would be overwritten")
            files = iter([InputFile(given, Path(given.name))])
        else:
            raise OptionError("INPUT", f"{given} does not exist")
        for file in files:
            other = found.setdefault(file.relative, file)
            if other.path != file.path and not _same(other.path, file.path):
                raise OptionError("INPUT", f"{other.path} and {file.path} would both be written to {file.relative}. "
                                  "Run them separately, or name a folder that holds both")  # fmt: skip
    return list(found.values())


def write_atomic(path: Path, data: bytes) -> str:
    """Write a file whole or not at all, and return the sha256 of its bytes in hex.

    The bytes go to a temporary name in the same folder, are flushed to the disk, and then take the final name;
    whatever interrupts that, the temporary is removed. Missing folders are made. Raises `OutputError`.
    """
    path = Path(path)
    temporary = path.parent / f".styleid-{secrets.token_hex(8)}.part"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            _write_through(temporary, data)
            temporary.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise
        _sync_folder(path.parent)
    except OSError as error:
        raise OutputError(path, os_reason(error)) from error
    return hashlib.sha256(data).hexdigest()


def remove_stale(folder: Path) -> int:
    """Remove the temporaries that a killed run left below a folder; return how many there were.

    Call it before any worker writes there: a living run's temporaries look the same.
    """
    count = 0
    for parent, _, names in os.walk(folder):
        for name in filter(_TEMPORARY.fullmatch, names):
            try:
                (Path(parent) / name).unlink(missing_ok=True)
            except OSError as error:
                raise OutputError(Path(parent) / name, os_reason(error)) from error
            count += 1
    return count


def _walk(root: Path, barred: Path | None) -> Iterator[Path]:
    """Yield image files below a folder: real folders first, then the linked ones that no real path led to."""
    seen: set[Path] = set()
    found: list[Path] = []
    pending, linked = [root], []
    while pending or linked:
        folder = pending.pop() if pending else linked.pop(0)
        real = folder.resolve()
        if real in seen or real == barred:
            continue
        seen.add(real)
        for entry in _entries(folder):
            if entry.name.startswith("."):
                continue
            path = folder / entry.name
            if _is_folder(entry):
                (linked if entry.is_symlink() else pending).append(path)
            elif path.suffix.lower() in IMAGE_SUFFIXES:
                found.append(path)
    return iter(sorted(found))


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda e: e.name)
    except OSError as error:
        raise ImageError(folder, f"this folder cannot be listed ({error.strerror}), so photos in it would be "
                         "missed. Make it readable, or leave it out")  from error  # fmt: skip


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _is_within(path: Path, folder: Path) -> bool:
    return path == folder or folder in path.parents


def _same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False


def _write_through(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
    with os.fdopen(descriptor, "wb", buffering=0) as file:
        rest = memoryview(data)
        while rest:
            rest = rest[file.write(rest) or 0 :]
        os.fsync(descriptor)


def _sync_folder(folder: Path) -> None:
    """Make the new name last through a power cut, where the system can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def os_reason(error: OSError) -> str:
    """Say why a file cannot be written, and what to do about it."""
    reasons = {
        errno.ENOSPC: "the disk is full. Free some space and run again with --resume",
        errno.EDQUOT: "the disk quota is used up. Free some space and run again with --resume",
        errno.EFBIG: "the file would exceed the largest size allowed here",
        errno.EACCES: "writing there is not permitted. Check the owner and the mode of the folder",
        errno.EPERM: "writing there is not permitted. Check the owner and the mode of the folder",
        errno.EROFS: "the disk is mounted read-only",
        errno.EISDIR: "a folder of that name is in the way",
        errno.ENOTDIR: "a file is in the way where a folder of that name is needed",
        errno.EEXIST: "a file is in the way where a folder of that name is needed",
        errno.ENAMETOOLONG: "its name is too long for this file system",
    }
    return reasons.get(error.errno or 0, f"it cannot be written ({error.strerror or error})")
