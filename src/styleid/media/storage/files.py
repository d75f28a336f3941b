"""Find input files, and write output files atomically."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import math
import os
import platform
import secrets
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from styleid.errors import ImageError, OptionError, OutputError
from styleid.media.formats.parse.sniff import IMAGE_SUFFIXES
from styleid.media.storage.remote import TEMPORARY, Place, RemotePath
from styleid.types import HintSource


@dataclass(frozen=True)
class InputFile:
    """One input file.

    Attributes:
        path: Where it is; a local path ends in `relative`.
        relative: Path of its output below the output folder.
        hint_source: The data set or other source of hints about its faces, if any.
        modified: Time of the last change in seconds since 1970 as a remote listing states it; NaN if unknown.
    """

    path: Place
    relative: Path
    hint_source: HintSource | None = field(default=None, compare=False)
    modified: float = field(default=math.nan, compare=False)

    def place(self) -> tuple[str, str]:
        """Return the folder that `relative` is relative to, and `relative` itself, as strings."""
        assert isinstance(self.path, Path), "remote inputs are given as RemotePath, not as InputFile"
        return str(self.path.parents[len(self.relative.parts) - 1]), str(self.relative)


class FoundPath(NamedTuple):
    """An input as `walk` yields it.

    Attributes:
        root: The folder that `name` is relative to.
        name: Relative path of the file, also of its output.
        modified: See `InputFile`.
    """

    root: str | RemotePath
    name: str
    modified: float = math.nan

    def whole(self) -> Place:
        """Return the full path."""
        return self.root / self.name if isinstance(self.root, RemotePath) else Path(self.root) / self.name


def walk_inputs(inputs: Sequence[Place | InputFile], *, exclude: Place | None = None) -> list[InputFile]:
    """List the files to process: files that are named, and image files below folders, in sorted order.

    In a folder, files with a known image suffix are listed, except hidden ones, and keep their relative paths. A file
    that is named explicitly is listed whatever its suffix. Links to folders are followed, each real folder once. Files
    that cannot be read are listed too, so that reading them reports the error.

    Args:
        inputs: Files, folders, or entries of a list made by the caller.
        exclude: The output folder, which is never entered.

    Raises:
        OptionError: An input does not exist, lies in or contains the output folder, or two inputs would be written to
            the same file.
        ImageError: A folder cannot be listed.
    """
    found = walk(inputs, exclude=exclude)
    return [InputFile(one.whole(), Path(one.name), modified=one.modified) for one in found]


def walk(inputs: Sequence[Place | InputFile], *, exclude: Place | None = None) -> Iterator[FoundPath]:
    """Yield the files that `walk_inputs` lists, one by one and without the cost of a Path for each.

    Args:
        inputs: See `walk_inputs`.
        exclude: See `walk_inputs`.

    Raises:
        OptionError: See `walk_inputs`.
        ImageError: See `walk_inputs`.
    """
    barred = exclude.resolve() if isinstance(exclude, Path) else None
    known: dict[str, FoundPath] | None = {} if len(inputs) > 1 else None  # within one folder, names are unique
    for given in inputs:
        for found in _places(given, exclude, barred):
            if known is not None and found.name in known:
                one, two = known[found.name].whole(), found.whole()
                if one != two and not _same(one, two):
                    raise OptionError("inputs", f"{one} and {two} would both be written to {found.name}. "
                                      "Run them separately, or name a folder that contains both")  # fmt: skip
                continue
            if known is not None:
                known[found.name] = found
            yield found


def walk_others(folder: Place, *, exclude: Place | None = None) -> list[str]:
    """List the files below a folder that have no image suffix, as relative paths with slashes, in sorted order.

    Hidden files are left out. Folders are walked as in `walk_inputs`.

    Args:
        folder: A local or remote folder.
        exclude: The output folder, which is never entered.

    Raises:
        ImageError: A folder cannot be listed.
    """
    if isinstance(folder, Path):
        barred = exclude.resolve() if isinstance(exclude, Path) else None
        return [name.replace(os.sep, "/") for name in _walk(folder, barred, images=False)]
    skipped = exclude if isinstance(exclude, RemotePath) else None
    try:
        return sorted(entry.name for entry in folder.walk(skip=skipped) if not _is_image(entry.name))
    except OSError as error:
        raise ImageError(str(folder), f"this folder cannot be listed ({error.strerror})") from error


def _places(given: Place | InputFile, exclude: Place | None, barred: Path | None) -> Iterator[FoundPath]:
    if isinstance(given, InputFile):
        yield FoundPath(*given.place())
    elif isinstance(given, RemotePath):
        yield from _under_url(given, exclude if isinstance(exclude, RemotePath) else None)
    else:
        for root, name in _under(Path(given), exclude, barred):
            yield FoundPath(root, name)


def _under_url(given: RemotePath, exclude: RemotePath | None) -> Iterator[FoundPath]:
    try:
        if exclude is not None and given.is_within(exclude):
            raise OptionError("out", f"{exclude} is or contains the input {given}. Name another output folder")
        if given.is_dir():
            entries = given.walk(skip=exclude)
            photos = [one for one in entries if _is_image(one.name)]
            photos.sort(key=lambda one: one.name.replace("/", "\0"))
            for one in photos:
                yield FoundPath(given, one.name, one.modified)
        elif given.exists():
            yield FoundPath(given.parent, given.name)
        else:
            raise OptionError("inputs", f"{given} does not exist or is empty")
    except OSError as error:
        raise ImageError(
            str(given), f"this folder cannot be listed ({error.strerror}), so photos in it would be missed"
        ) from error


def _under(given: Path, exclude: Place | None, barred: Path | None) -> Iterator[tuple[str, str]]:
    if given.is_dir():
        if barred is not None and _is_within(given.resolve(), barred):
            raise OptionError("out", f"{exclude} is or contains the input folder {given}. Name another output folder")
        for name in _walk(given, barred):
            yield str(given), name
    elif os.path.lexists(given):
        if barred is not None and _is_within(given.resolve(), barred):
            raise OptionError("out", f"the input {given} lies in the output folder and would be overwritten")
        yield str(given.parent), given.name
    else:
        raise OptionError("inputs", f"{given} does not exist")


def write_atomic(path: Place, data: bytes) -> str:
    """Write a file atomically and return its SHA-256 in hex.

    A local file is written under a temporary name in the same folder, flushed to the disk and then renamed. If writing
    fails, the temporary file is removed. Missing folders are created. At a URL, see `RemotePath.write_whole`.

    Args:
        path: The file to write; an existing file is replaced.
        data: Its content.

    Raises:
        OutputError: The file cannot be written.
    """
    if isinstance(path, RemotePath):
        try:
            path.write_whole(data)
        except OSError as error:
            raise OutputError(str(path), f"it cannot be written ({error.strerror})") from error
        return hashlib.sha256(data).hexdigest()
    path = Path(path)
    temporary = path.parent / f".styleid-{_mark(os.getpid())}{secrets.token_hex(4)}.part"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            write_through(temporary, data)
            temporary.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise
        _sync_folder(path.parent)
    except OSError as error:
        raise OutputError(path, os_reason(error)) from error
    return hashlib.sha256(data).hexdigest()


def remove_stale(folder: Place, *, older_than_s: float = 0.0) -> int:
    """Remove the temporary files that a killed run left below a folder, and return their number.

    Call it before any worker writes there: temporary files of a running process look the same.

    Args:
        folder: A local or remote folder.
        older_than_s: Minimum age in seconds of the files to remove. Set it if other machines may be writing there.

    Raises:
        OutputError: A file cannot be removed.
    """
    if isinstance(folder, RemotePath):
        try:
            return folder.remove_stale(older_than_s)
        except OSError as error:
            raise OutputError(
                str(folder), f"temporary files of a killed run cannot be removed ({error.strerror})"
            ) from error
    count = 0
    for parent, _, names in os.walk(folder):
        for name in filter(TEMPORARY.fullmatch, names):
            count += _remove(Path(parent) / name, older_than_s)
    return count


def remove_temporaries_of(process: int, folders: Iterable[Place]) -> None:
    """Remove the temporary files that a killed process of this machine left directly in local folders.

    Args:
        process: The process's identifier (PID).
        folders: Where it wrote. Remote folders are skipped; subfolders are not searched.

    Raises:
        OutputError: A file cannot be removed.
        ImageError: A folder cannot be listed.
    """
    start = f".styleid-{_mark(process)}"
    for folder in (one for one in folders if isinstance(one, Path) and one.is_dir()):
        for entry in _entries(folder):
            if entry.name.startswith(start) and TEMPORARY.fullmatch(entry.name):
                _remove(folder / entry.name, 0.0)


def _remove(path: Path, older_than_s: float) -> bool:
    try:
        if older_than_s and time.time() - path.stat().st_mtime < older_than_s:
            return False
        path.unlink(missing_ok=True)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise OutputError(path, os_reason(error)) from error
    return True


def _mark(process: int) -> str:
    """Return eight hex digits that identify a process of this machine."""
    return hashlib.sha256(f"{platform.node()}/{process}".encode()).hexdigest()[:8]


def _walk(root: Path, barred: Path | None, *, images: bool = True) -> list[str]:
    """List the image files below a folder, or with images=False the other files, as sorted relative paths.

    Real folders are walked before links to folders, so that a folder that both reach keeps its real path.
    """
    seen: set[Path] = set()
    found: list[str] = []
    pending = [""]
    linked: list[str] = []
    while pending or linked:
        inside = pending.pop() if pending else linked.pop(0)
        folder = root / inside
        real = folder.resolve()
        if real in seen or real == barred:
            continue
        seen.add(real)
        for entry in _entries(folder):
            if entry.name.startswith("."):
                continue
            name = os.path.join(inside, entry.name)  # noqa: PTH118 # a Path for each of millions of files is slow
            if _is_folder(entry):
                (linked if entry.is_symlink() else pending).append(name)
            elif _is_image(entry.name) == images and (images or _is_file_or_gone(entry)):
                found.append(name)
    found.sort(key=lambda name: name.replace(os.sep, "\0"))
    return found


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


def _is_image(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES  # noqa: PTH122 # a Path for each file is slow


def _is_file_or_gone(entry: os.DirEntry[str]) -> bool:
    """Return whether an entry is a file or a broken link, but no pipe, socket or device."""
    try:
        return entry.is_file() or not Path(entry.path).exists()
    except OSError:
        return True


def _is_within(path: Path, folder: Path) -> bool:
    return path == folder or folder in path.parents


def _same(one: Place, other: Place) -> bool:
    if isinstance(one, RemotePath) or isinstance(other, RemotePath):
        return one == other
    try:
        return one.samefile(other)
    except OSError:
        return False


def write_through(path: Path, data: bytes) -> None:
    """Write a new file and flush it to the disk.

    Args:
        path: The file, which must not exist.
        data: Its content.

    Raises:
        OSError: The file exists or cannot be written.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
    with os.fdopen(descriptor, "wb", buffering=0) as file:
        rest = memoryview(data)
        while rest:
            rest = rest[file.write(rest) or 0 :]
        os.fsync(descriptor)


def _sync_folder(folder: Path) -> None:
    """Flush a folder to the disk, so that a new name survives a power cut; not all systems support this."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def os_reason(error: OSError) -> str:
    """Return why a file cannot be written and what to do, as text for an `OutputError`."""
    reasons = {
        errno.ENOSPC: "the disk is full. Free some space and run again with `resume`",
        errno.EDQUOT: "the disk quota is used up. Free some space and run again with `resume`",
        errno.EFBIG: "the file would exceed the largest size that this file system or user limit allows",
        errno.EACCES: "writing there is not permitted. Check the owner and the mode of the folder",
        errno.EPERM: "writing there is not permitted. Check the owner and the mode of the folder",
        errno.EROFS: "the disk is mounted read-only",
        errno.EISDIR: "a folder of that name is in the way",
        errno.ENOTDIR: "a file is in the way where a folder of that name is needed",
        errno.EEXIST: "a file is in the way where a folder of that name is needed",
        errno.ENAMETOOLONG: "its name is too long for this file system",
    }
    return reasons.get(error.errno or 0, f"it cannot be written ({error.strerror or error})")
